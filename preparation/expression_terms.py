"""Gaze and jaw terms: what the landmarks tell of eyes and mouth beside the detector's coefficients.

Landmarks are taken back to the head frame by the solved poses, so that what still moves is eyes, lips and
chin. Every term is zero in a face at rest, looking where it mostly looks, with the mouth shut, and at most of
order one. x is the image's right, y is up.
"""

from collections.abc import Sequence

import numpy as np

from preparation.crop import crop_points
from preparation.head_pose import Camera
from preparation.heads import Solution
from preparation.landmarks import LandmarkTrack
from preparation.rigid import Poses
from preparation.smoothing import low_pass

TERMS = {"gaze": ("gazeX", "gazeY"), "jaw": ("jawDrop", "jawShift", "mouthOpen", "mouthWidth")}
GAZE_UNIT = 0.2  # halves of an eye's width that count as one: some 15 degrees
MOUTH_UNIT = 0.05  # head units that count as one: a tenth of the face, lips wide open in speech
_SHUT = 5  # percentile of a clip in which the mouth is shut
_LIDS_SHUT = 0.5  # of the median distance of the lids: what the iris does behind them is a guess

# Outer corner, inner corner, iris, upper lid, lower lid.
_EYES = ((33, 133, 468, 159, 145), (263, 362, 473, 386, 374))
_CHIN, _LIPS, _MOUTH_CORNERS = (148, 152, 377), (13, 14), (61, 291)
LANDMARKS = np.array(sorted({*sum(_EYES, ()), *_CHIN, *_LIPS, *_MOUTH_CORNERS}))


def expression_terms(
    kinds: Sequence[str], track: LandmarkTrack, solution: Solution, size: int, cutoff: float
) -> np.ndarray:  # [F, T]
    """Measure the terms of some kinds of `TERMS` at the tracking rate; NaN in frames that are dropped.

    size: side of the data set's pictures, pixels. cutoff: of the smoothing, cycles per frame.
    """
    frames = np.flatnonzero(track.kept)
    pixels = track.landmarks[frames[:, None], LANDMARKS, :2].astype(np.float64)
    pixels = crop_points(pixels, solution.crop, size)
    found = unpose(pixels, solution.tracked_poses, solution.camera, solution.landmarks[LANDMARKS])
    places = dict(zip(LANDMARKS.tolist(), found.transpose(1, 0, 2), strict=True))
    measures = {"gaze": lambda: _gaze(places, frames), "jaw": lambda: _jaw(places)}
    measured = np.concatenate([measures[kind]() for kind in TERMS if kind in kinds], axis=1)
    terms = np.full((track.num_frames, measured.shape[1]), np.nan)
    terms[frames] = low_pass(measured, frames, cutoff) if cutoff < 0.5 else measured
    return terms


def term_names(kinds: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns of `expression_terms`."""
    return tuple(name for kind in TERMS if kind in kinds for name in TERMS[kind])


def unpose(pixels: np.ndarray, poses: Poses, camera: Camera, landmarks: np.ndarray) -> np.ndarray:
    """Places [F, P, 2] in the head frame of pixels [F, P, 2], at the depths (z) of `landmarks` [P, 3]."""
    rays = np.concatenate([(pixels - camera.center) / camera.focal, np.ones((*pixels.shape[:2], 1))], axis=-1)
    rays = rays @ poses.rotations  # [F, P, 3], of the head
    origins = -poses.translations[:, None] @ poses.rotations  # [F, 1, 3]
    along = (landmarks[:, 2] - origins[..., 2]) / rays[..., 2]
    return origins[..., :2] + along[..., None] * rays[..., :2]


def _gaze(places: dict[int, np.ndarray], frames: np.ndarray) -> np.ndarray:  # landmark: [F, 2] -> [F, 2]
    """The irises' places between the corners of their eyes, mean of both eyes."""
    directions, gaps = [], []
    for outer, inner, iris, upper, lower in _EYES:
        width = np.linalg.norm(places[outer] - places[inner], axis=1, keepdims=True)
        directions.append((places[iris] - (places[outer] + places[inner]) / 2) / (width / 2))
        gaps.append(places[upper][:, 1] - places[lower][:, 1])
    gaze, gap = np.mean(directions, axis=0), np.mean(gaps, axis=0)
    is_open = gap > _LIDS_SHUT * np.median(gap)
    gaze = np.column_stack([np.interp(frames, frames[is_open], column[is_open]) for column in gaze.T])
    return (gaze - np.median(gaze, axis=0)) / GAZE_UNIT


def _jaw(places: dict[int, np.ndarray]) -> np.ndarray:  # landmark: [F, 2] -> [F, 4]
    chin = np.mean([places[landmark] for landmark in _CHIN], axis=0)
    (upper, lower), (right, left) = ([places[i] for i in pair] for pair in (_LIPS, _MOUTH_CORNERS))
    drop, shift = -chin[:, 1], chin[:, 0]
    gap, width = upper[:, 1] - lower[:, 1], np.linalg.norm(left - right, axis=1)
    rests = [np.percentile(drop, _SHUT), np.median(shift), np.percentile(gap, _SHUT), np.median(width)]
    return (np.column_stack([drop, shift, gap, width]) - rests) / MOUTH_UNIT
