"""The camera of a clip: its focal length where none is given, and the one square window of all pictures.

A talking head hardly tells the focal length: a longer lens with the camera farther away gives almost the same
pictures. What is wrong about it ends up in the depth of the head, alike in every frame.
"""

from typing import NamedTuple

import numpy as np

from preparation.geometry.head_frame import FACE_HEIGHT

# A phone's main camera, in longer sides: some 28 mm equivalent, less what stabilisation cuts off.
PHONE = 0.8
# Head units, 1.3 m: a camera in a studio.
CROPPED_DISTANCE = 3.5
# Head units: nobody films a face from closer than 45 cm.
NEAREST = 1.2
# A picture that is wider (or higher) than this ratio is a camera's own.
_FULL_ASPECT = 1.3

# The window around the middle of the face, in heights of the face (forehead to chin).
HAIR_ABOVE, CHIN_BELOW, SHOULDERS_BELOW, SIDE = 1.05, 0.6, 1.45, 1.25


class Camera(NamedTuple):
    """A pinhole, in pixels."""

    focal: float
    center: np.ndarray  # [2]


class Crop(NamedTuple):
    """A square of the upright video, in its pixels."""

    x: int
    y: int
    side: int

    @property
    def window(self) -> tuple[int, int, int, int]:
        """x, y, width, height."""
        return self.x, self.y, self.side, self.side


def assume_focal(width: int, height: int, face_height: float) -> tuple[float, str]:
    """Return a focal length in pixels, and where it comes from. face_height: forehead to chin, pixels."""
    longer = max(width, height)
    near = NEAREST * face_height / FACE_HEIGHT
    if longer / min(width, height) >= _FULL_ASPECT:
        focal = PHONE * longer
        if focal >= near:
            return float(focal), f"assumed: {PHONE:g} x the longer side, a phone's main camera"
    focal = CROPPED_DISTANCE * face_height / FACE_HEIGHT
    focal = float(np.clip(focal, near, None))
    return focal, f"assumed: as if the camera were {CROPPED_DISTANCE:g} head units (1.3 m) away"


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
    else:
        # Not even the head fits: as much is cut above the face as below.
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
