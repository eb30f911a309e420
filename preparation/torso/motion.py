"""How the torso moves in front of the camera, apart from the head.

Corners of the clothes in a reference frame are followed into every frame (pyramidal Lucas-Kanade, started
from the motion of the frame before, checked by following them back), and a shift or a similarity of the
picture is fitted to them. As a rigid motion in camera space it is a turn about the line of sight and a shift,
the change of scale read as one in depth.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from preparation.geometry.camera import Camera
from utils.progress import Progress

MAX_POINTS = 300
MIN_POINTS = 12
# The share of the frames in which the torso must be found.
MIN_MEASURED = 0.5
_WINDOW = (25, 25)
_LEVELS = 3
# Pixels that a corner may be off after it was followed into a frame and back.
_BACK_AND_FORTH = 1.0


class TorsoMotion(NamedTuple):
    """The torso of every frame against its mean place."""

    # Takes the torso at rest to the frame: camera space, OpenGL axes, head units.
    transforms: np.ndarray  # [F, 4, 4]
    # Other frames are interpolated.
    is_measured: np.ndarray  # [F] bool
    # The one of CANDIDATES that predicted held-out points best.
    model: str
    # By model: pixels, on points that the fit has not seen.
    held_out_errors: dict[str, float]


def track_torso(
    read_frame: Callable[[int], np.ndarray],
    read_region: Callable[[int], np.ndarray],
    num_frames: int,
    camera: Camera,
    distance: float,
    quiet: bool = False,
) -> TorsoMotion | None:
    """Follow the torso; None where its clothes show too few corners.

    read_frame: frame number -> [H, W, 3] uint8. read_region: frame number -> [H, W] bool, the clothes.
    distance: of the head, head units.
    """
    reference = num_frames // 2
    start = cv2.cvtColor(read_frame(reference), cv2.COLOR_RGB2GRAY)
    region = cv2.erode(read_region(reference).astype(np.uint8), np.ones((7, 7), np.uint8))
    points = cv2.goodFeaturesToTrack(start, MAX_POINTS, 0.005, 5, mask=region)
    if points is None or len(points) < MIN_POINTS:
        return None
    points = points[:, 0]  # [P, 2]
    motions: dict[str, list[np.ndarray | None]] = {name: [None] * num_frames for name in CANDIDATES}
    errors: dict[str, list[float]] = {name: [] for name in MODELS}
    with Progress(num_frames, "following the torso", quiet=quiet) as progress:
        # Away from the reference frame, to the end and to the beginning.
        for order in (range(reference, num_frames), range(reference - 1, -1, -1)):
            guess = np.eye(2, 3)
            for frame in order:
                gray = cv2.cvtColor(read_frame(frame), cv2.COLOR_RGB2GRAY)
                here, is_good = _follow(start, gray, points, guess)
                progress.update()
                fits = {name: MODELS[name](points[is_good], here[is_good]) for name in CANDIDATES}
                if is_good.sum() < MIN_POINTS or any(fit is None for fit in fits.values()):
                    continue
                guess = fits["similarity"]
                for name, fit in fits.items():
                    motions[name][frame] = fit
                _note_errors_(errors, points[is_good], here[is_good])
    is_measured = np.array([motion is not None for motion in motions["shift"]])
    if is_measured.mean() < MIN_MEASURED:
        return None
    means = {name: float(np.mean(values)) for name, values in errors.items()}
    model = min(CANDIDATES, key=means.__getitem__)
    numbers = _numbers(motions[model], is_measured, camera, distance)  # [F, 4]
    return TorsoMotion(to_transforms(numbers - np.median(numbers, axis=0)), is_measured, model, means)


def to_transforms(numbers: np.ndarray) -> np.ndarray:
    """Build [F, 4, 4] from [F, 4]: x, y, z (head units, OpenGL camera axes) and roll (radians)."""
    transforms = np.tile(np.eye(4), (len(numbers), 1, 1))
    cosine, sine = np.cos(numbers[:, 3]), np.sin(numbers[:, 3])
    transforms[:, 0, 0], transforms[:, 0, 1] = cosine, -sine
    transforms[:, 1, 0], transforms[:, 1, 1] = sine, cosine
    transforms[:, :3, 3] = numbers[:, :3]
    return transforms


def _follow(start, gray, points, motion) -> tuple[np.ndarray, np.ndarray]:
    """Places [P, 2] of the points in another frame, and which can be trusted."""
    options = dict(winSize=_WINDOW, maxLevel=_LEVELS, flags=cv2.OPTFLOW_USE_INITIAL_FLOW)
    guess = (points @ motion[:, :2].T + motion[:, 2]).astype(np.float32)
    here, found, _ = cv2.calcOpticalFlowPyrLK(start, gray, points, guess.copy(), **options)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(gray, start, here, points.copy(), **options)
    is_good = (found[:, 0] > 0) & (found_back[:, 0] > 0)
    return here, is_good & (np.linalg.norm(back - points, axis=1) < _BACK_AND_FORTH)


def _note_errors_(errors: dict[str, list[float]], source: np.ndarray, target: np.ndarray) -> None:
    """Fit each model on every other point and note its median error, in pixels, on the others."""
    order = np.argsort(source[:, 0] + 1e-3 * source[:, 1])
    seen, unseen = order[::2], order[1::2]
    for name, fit in MODELS.items():
        motion = fit(source[seen], target[seen])
        if motion is not None:
            left = source[unseen] @ motion[:, :2].T + motion[:, 2] - target[unseen]
            errors[name].append(float(np.median(np.linalg.norm(left, axis=1))))


def _fit_shift(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    return np.column_stack([np.eye(2), np.median(target - source, axis=0)]) if len(source) else None


def _fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    return cv2.estimateAffinePartial2D(source, target)[0] if len(source) >= 2 else None


def _fit_affine(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    return cv2.estimateAffine2D(source, target)[0] if len(source) >= 3 else None


CANDIDATES = ("shift", "similarity")
MODELS = {
    "no motion": lambda source, target: np.eye(2, 3),
    "shift": _fit_shift,
    "similarity": _fit_similarity,
    "affine": _fit_affine,
}


def _numbers(motions, is_measured, camera: Camera, distance: float) -> np.ndarray:  # [F, 4]
    """x, y, z, roll of every frame in camera space; gaps interpolated.

    The picture about the principal point is scaled by s when the torso comes nearer by distance (1 - 1 / s).
    """
    measured = []
    for motion in (one for one in motions if one is not None):
        scale = math.hypot(motion[0, 0], motion[1, 0])
        # The image's y points down.
        roll = -math.atan2(motion[1, 0], motion[0, 0])
        # Of the principal point, in pixels.
        shift = motion[:, :2] @ camera.center + motion[:, 2] - camera.center
        units = distance / scale / camera.focal
        measured.append([shift[0] * units, -shift[1] * units, distance * (1 - 1 / scale), roll])
    frames = np.flatnonzero(is_measured)
    columns = [np.interp(np.arange(len(is_measured)), frames, column) for column in np.transpose(measured)]
    return np.stack(columns, axis=1)
