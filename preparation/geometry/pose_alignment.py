"""Two trackers' poses of one head: the similarity between their head frames, and how well they agree.

A head frame is a matter of taste: where its origin is, which way it looks, what a unit is. One similarity for
all frames takes that away; what is left is what the trackers disagree about.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from preparation.geometry.camera import Camera
from preparation.geometry.head_frame import rebase
from preparation.geometry.rigid import Poses, Similarity, exp_so3, log_so3, mean_rotation, project
from utils.sampling import evenly_spread

# Frames that are looked at, spread over the clip.
_MOST_FRAMES = 100
# Pixels beyond which a point counts less and less.
_ROBUST = 3.0
# Of the head's distance: where the origin may be, if nothing tells. Weak: pixels of one point in one frame.
_SOMEWHERE = 0.02


class Agreement(NamedTuple):
    """What is left between two trackers after one similarity."""

    # Takes points of the first head frame to the second one.
    change: Similarity
    degrees: np.ndarray  # [F]
    # Between where points are seen, mean over points.
    pixels: np.ndarray  # [F]


def compare_poses(first: Poses, second: Poses, points: np.ndarray, camera: Camera) -> Agreement:
    """Find the similarity for which points [P, 3] of the first head frame are seen alike with both poses."""
    rows = evenly_spread(len(first.rotations), _MOST_FRAMES)
    change = _align(first.select(rows), second.select(rows), points, camera)
    rebased = rebase(first, change)
    turns = log_so3(rebased.rotations.transpose(0, 2, 1) @ second.rotations)
    seen = project(first.apply(points), camera.focal, camera.center)
    seen_second = project(second.apply(change.apply(points)), camera.focal, camera.center)
    return Agreement(
        change,
        np.rad2deg(np.linalg.norm(turns, axis=-1)),
        np.linalg.norm(seen - seen_second, axis=-1).mean(axis=-1),
    )


def _align(first: Poses, second: Poses, points: np.ndarray, camera: Camera) -> Similarity:
    """Begin with mean rotation and distances, then least squares over pixels, robustly."""
    back = second.rotations.transpose(0, 2, 1)
    rotation = mean_rotation(back @ first.rotations)
    scale = np.median(second.translations[:, 2]) / np.median(first.translations[:, 2])
    shifts = (back @ (scale * first.translations - second.translations)[..., None])[..., 0]
    start, distance = np.median(shifts, axis=0), float(np.median(second.translations[:, 2]))
    seen = project(first.apply(points), camera.focal, camera.center)

    def similarity(unknowns: np.ndarray) -> Similarity:
        turn, stretch, shift = unknowns[:3], unknowns[3], unknowns[4:]
        return Similarity(
            scale * np.exp(stretch), exp_so3(turn) @ rotation, start + distance * _SOMEWHERE * shift
        )

    def residuals(unknowns: np.ndarray) -> np.ndarray:
        placed = second.apply(similarity(unknowns).apply(points))
        errors = project(placed, camera.focal, camera.center) - seen
        return np.append(errors.ravel(), unknowns[4:])

    return similarity(least_squares(residuals, np.zeros(7), loss="soft_l1", f_scale=_ROBUST).x)
