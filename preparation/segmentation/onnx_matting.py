"""The user's own matting network, from an ONNX file (`--matting`), looked at before any work is done."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from utils.errors import UserError
from utils.onnx import onnx_session


class OnnxMatting:
    """A matting network from a file: takes RGB in [-1, 1] as [1, 3, h, w], gives a matte in [0, 1] first."""

    def __init__(self, path: Path, default_size: int = 512) -> None:
        self._session = onnx_session("--matting", path, _holds_pictures, "[1, 3, height, width]")
        self._input = self._session.get_inputs()[0]
        sides = [side if isinstance(side, int) else default_size for side in self._input.shape[-2:]]
        self._size = (sides[1], sides[0])
        self._try_out(path)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        small = cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA).astype(np.float32) / 127.5 - 1
        answer = self._session.run(None, {self._input.name: small.transpose(2, 0, 1)[None]})[0]
        matte = np.asarray(answer, np.float32).reshape(answer.shape[-2:])
        return cv2.resize(matte, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)[None]

    def _try_out(self, path: Path) -> None:
        """Raise UserError where a frame does not become one matte."""
        gray = np.zeros((1, 3, *self._size[::-1]), np.float32)
        try:
            answer = self._session.run(None, {self._input.name: gray})[0]
        except Exception as error:
            raise UserError(f"--matting {path}: fails on {list(gray.shape)} ({error})") from None
        shape = list(answer.shape)
        if len(shape) < 2 or min(shape[-2:]) < 2 or answer.size != shape[-2] * shape[-1]:
            raise UserError(f"--matting {path}: gives {shape}; expected a matte [1, 1, height, width]")
        low, high = float(np.min(answer)), float(np.max(answer))
        # NaN is refused too.
        if not (low >= -0.1 and high <= 1.1):
            raise UserError(f"--matting {path}: gives {low:.3g} to {high:.3g}; expected a matte in [0, 1]")


def _holds_pictures(shape: Sequence[int | str | None]) -> bool:
    """Whether a network's input can be [1, 3, height, width]; what is no number is free."""
    wanted = zip(shape, (1, 3), strict=False)
    return len(shape) == 4 and all(have == want for have, want in wanted if isinstance(have, int))
