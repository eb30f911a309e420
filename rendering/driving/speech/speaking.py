"""A sound as a sequence of coefficients that an avatar can play."""

import math
from pathlib import Path

import numpy as np

from rendering.driving.head_angles import rotations_of
from rendering.driving.live_link import ARKIT_NAMES
from rendering.driving.sequence import DrivingSequence
from rendering.driving.speech.features import FEATURE_RATE, features
from rendering.driving.speech.idle import blinks, head_turns
from rendering.driving.speech.mouth import REACH, mouth_shares
from rendering.driving.speech.network import OnnxSpeech
from rendering.driving.speech.sound import Sound, read_sound

# A lid that shuts looks down to a tracker, and so in the clips that avatars learned from.
_BLINK = ("eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight")
_RESTS = "nothing in it is loud enough to be speech: the mouth stays shut"


def speak(
    path: Path,
    rate: float,
    *,
    model: Path | None = None,
    head_motion: float = 1.0,
    seed: int = 0,
    quiet: bool = True,
) -> DrivingSequence:
    """Make a face say a sound file, at `rate` frames per second, the last frame begun before the sound ends.

    Mouth by the table of mouth.py, or by a network (`model`, an ONNX file); blinks, unless the network has
    them, and turns of the head, `head_motion` times as large as usual, by the seed. Raises UserError.
    """
    network = None if model is None else OnnxSpeech(model)
    sound = read_sound(path)
    found = features(sound, quiet)
    # What one seed draws for the blinks must not depend on what the head needs.
    for_blinks, for_head = np.random.default_rng(seed).spawn(2)
    num = max(1, math.ceil(sound.seconds * rate - 1e-6))
    # The middle of the time that a frame is seen.
    times = (np.arange(num) + 0.5) / rate
    shares = mouth_shares(found) if network is None else {}
    if network is None or not set(network.names) & set(_BLINK[:2]):
        shares |= dict.fromkeys(_BLINK, blinks(len(found.loudness), for_blinks))
    columns = {name: REACH[name] * _at(times, share) for name, share in shares.items()}
    if network is not None:
        columns |= _heard(network, sound, times)
    names = (*ARKIT_NAMES, *(name for name in columns if name not in ARKIT_NAMES))
    coefficients = np.stack([columns.get(name, np.zeros(num)) for name in names], axis=1)
    angles = head_turns(found, head_motion, for_head)
    is_silent = network is None and not found.loudness.any()
    return DrivingSequence(
        source=path,
        names=names,
        coefficients=coefficients.astype(np.float32),
        rate=rate,
        rotations=rotations_of(np.stack([_at(times, column) for column in angles.T], axis=1)),
        reach=np.array([REACH.get(name, 0.0) for name in names]),
        notes=(f"{path}: {_RESTS}",) if is_silent else (),
    )


def _heard(network: OnnxSpeech, sound: Sound, times: np.ndarray) -> dict[str, np.ndarray]:
    """A network's coefficients at times, [F] each."""
    own_times, values = network(sound)
    return {
        name: np.interp(times, own_times, column)
        for name, column in zip(network.names, values.T, strict=True)
    }


def _at(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.interp(times, np.arange(len(values)) / FEATURE_RATE, values)
