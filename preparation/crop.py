"""One square window for the whole clip, with head and shoulders, and what it does to the camera."""

from typing import NamedTuple

import numpy as np

from preparation.head_pose import Camera

# In heights of the face (forehead to chin), around its middle.
HAIR_ABOVE, CHIN_BELOW, SHOULDERS_BELOW, SIDE = 1.05, 0.6, 1.45, 1.25


class Crop(NamedTuple):
    """A square of the upright video, in its pixels."""

    x: int
    y: int
    side: int

    @property
    def window(self) -> tuple[int, int, int, int]:
        """x, y, width, height."""
        return self.x, self.y, self.side, self.side


def choose_crop(landmarks: np.ndarray, width: int, height: int) -> Crop:
    """Choose the square that keeps head and shoulders in nearly every frame, as far as they are in the video.

    landmarks: [F, P, 2] pixels of the frames that are kept.
    """
    low, high = landmarks.min(axis=1), landmarks.max(axis=1)  # [F, 2]
    middle, face = (low + high) / 2, (high - low)[:, 1]
    left, right = middle[:, 0] - SIDE * face, middle[:, 0] + SIDE * face
    top, bottom = middle[:, 1] - HAIR_ABOVE * face, middle[:, 1] + SHOULDERS_BELOW * face
    # A percent of the frames may reach out: one wild landmark must not shrink everybody.
    left, top = np.percentile(left, 1), np.percentile(top, 1)
    right, bottom = np.percentile(right, 99), np.percentile(bottom, 99)
    side = int(min(max(right - left, bottom - top), width, height))
    x = np.clip((left + right - side) / 2, 0, width - side)
    chin = np.percentile(middle[:, 1] + CHIN_BELOW * face, 99)
    if top + side >= chin:
        y = min(top, (top + bottom - side) / 2)
    else:  # not even the head fits: as much above the face as below
        y = (np.percentile(low[:, 1], 1) + chin - side) / 2
    y = np.clip(y, 0, height - side)
    return Crop(round(x), round(y), side)


def crop_camera(camera: Camera, crop: Crop, size: int) -> Camera:
    """The camera of the window, brought to `size` x `size` pixels; the principal point leaves the middle."""
    scale = size / crop.side
    return Camera(camera.focal * scale, (camera.center - [crop.x, crop.y]) * scale)


def crop_points(pixels: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """Take pixels [..., 2] of the video to pixels of the window, in the same precision."""
    return (pixels - np.array([crop.x, crop.y], pixels.dtype)) * (size / crop.side)
