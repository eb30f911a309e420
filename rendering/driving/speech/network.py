"""A network of one's own that hears a face, from an ONNX file (`--audio_model`).

Takes one float32 [1, T]: 16 kHz mono, full scale 1. Gives first [frames, C] or [1, frames, C] coefficients in
[0, 1]. The file's metadata names them: `coefficients`, ARKit's names with commas between them; `rate`, frames
per second, is optional: without it the frames are spread over the sound.
"""

from pathlib import Path

import numpy as np

from rendering.driving.live_link import ARKIT_NAMES
from rendering.driving.speech.sound import RATE, Sound
from utils.errors import UserError
from utils.onnx import onnx_session

NAMES_KEY, RATE_KEY = "coefficients", "rate"
# Of the sound's length: so far off the frames of a stated rate may end.
_LENGTH_TOLERANCE = 0.05
# Around [0, 1], what a network may overshoot.
_OVERSHOOT = 0.5


class OnnxSpeech:
    """A network from a file. Raises UserError for what is none, or has another input or no names."""

    def __init__(self, path: Path) -> None:
        self._where = f"--audio_model {path}"
        self._session = onnx_session("--audio_model", path, _takes_waveform, "[1, samples]")
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.names = self._read_names(metadata.get(NAMES_KEY, ""))
        self.rate = self._read_rate(metadata.get(RATE_KEY))

    def __call__(self, sound: Sound) -> tuple[np.ndarray, np.ndarray]:
        """Times [F] (seconds, middles of frames) and coefficients [F, C] of a sound. Raises UserError."""
        waveform = np.ascontiguousarray(sound.samples[None], np.float32)
        try:
            answer = self._session.run(None, {self._session.get_inputs()[0].name: waveform})[0]
        except Exception as error:
            raise UserError(f"{self._where}: fails on {list(waveform.shape)} ({error})") from None
        found = list(np.shape(answer))
        if len(found) == 3 and found[0] == 1:
            answer = answer[0]
        if np.ndim(answer) != 2 or not len(answer) or answer.shape[1] != len(self.names):
            raise UserError(
                f"{self._where}: gives {found}; expected [frames, {len(self.names)}], as it has names"
            )
        low, high = float(np.min(answer)), float(np.max(answer))
        # NaN is refused too.
        if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
            raise UserError(f"{self._where}: gives {low:.3g} to {high:.3g}; expected coefficients in [0, 1]")
        rate = self.rate or len(answer) / sound.seconds
        end = len(answer) / rate
        if abs(end - sound.seconds) > max(2 / rate, _LENGTH_TOLERANCE * sound.seconds):
            raise UserError(
                f"{self._where}: gives {len(answer)} frames at {rate:g} frames/s, {end:.2f} s; "
                f"expected {sound.seconds:.2f} s, as the sound has"
            )
        return (np.arange(len(answer)) + 0.5) / rate, np.asarray(answer, np.float64).clip(0, 1)

    def _read_names(self, text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise UserError(f"{self._where}: metadata '{NAMES_KEY}': {twice} occurs twice; expected once")
        if not set(names) & set(ARKIT_NAMES):
            found = ", ".join(names[:6]) or "nothing"
            raise UserError(
                f"{self._where}: metadata '{NAMES_KEY}': expected ARKit's names with commas between them, "
                f"such as jawOpen,mouthClose; found {found}"
            )
        return names

    def _read_rate(self, text: str | None) -> float | None:
        if text is None:
            return None
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if not 1 <= rate <= RATE:
            raise UserError(
                f"{self._where}: metadata '{RATE_KEY}': expected frames per second, found '{text}'"
            )
        return rate


def _takes_waveform(shape: list) -> bool:
    """Whether an input can be [1, T]; what is no number is free."""
    return (len(shape) == 2 and shape[0] in (1, None)) or (len(shape) == 2 and isinstance(shape[0], str))
