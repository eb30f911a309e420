"""One set of intrinsics for pictures of several cameras: each is scaled and shifted, which is exact.

A pinhole's pixel is f x / z + c. With the camera where it is, f and c of another camera mean nothing but a
scale and a shift of the picture; what comes from beyond its border is black, with a matte of 0.
"""

from typing import NamedTuple

import cv2
import numpy as np

from preparation.converters.record import ForeignFrame

# Relative: what trackers' rounding makes of equal numbers.
_SAME = 1e-6


class Common(NamedTuple):
    """The camera and the size that all pictures get."""

    intrinsics: np.ndarray  # [3, 3]
    size: tuple[int, int]
    # Whether any picture has others.
    is_warped: bool

    def warp(self, frame: ForeignFrame, size: tuple[int, int]) -> np.ndarray | None:  # [2, 3]
        """From a frame's pixels to those of the common camera, for warpAffine; None if they are one."""
        if size == self.size and is_same(frame.intrinsics, self.intrinsics):
            return None
        scale = np.diag(self.intrinsics)[:2] / np.diag(frame.intrinsics)[:2]
        # OpenCV counts from the middle of the first pixel, cameras from its corner.
        shift = scale * (0.5 - frame.intrinsics[:2, 2]) + self.intrinsics[:2, 2] - 0.5
        return np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])

    def draw(self, pixels: np.ndarray, warp: np.ndarray | None, nearest: bool = False) -> np.ndarray:
        """The picture under the common camera."""
        if warp is None:
            return pixels
        kind = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        return cv2.warpAffine(pixels, warp, self.size, flags=kind)


def is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether intrinsics [3, 3] are equal but for rounding."""
    return bool(np.abs(one - other).max() <= _SAME * np.abs(other).max())


def common_camera(frames: list[ForeignFrame], sizes: list[tuple[int, int]]) -> Common:
    """That of the frame whose focal length is the median."""
    order = np.argsort([frame.intrinsics[0, 0] for frame in frames], kind="stable")
    chosen = int(order[len(order) // 2])
    intrinsics, size = frames[chosen].intrinsics, sizes[chosen]
    is_warped = any(
        other != size or not is_same(frame.intrinsics, intrinsics)
        for frame, other in zip(frames, sizes, strict=True)
    )
    return Common(intrinsics, size, is_warped)
