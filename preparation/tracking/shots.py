"""Cuts: where a clip goes on with another shot, and whether it shows the same person.

Two small pictures of each frame tell: the whole frame, and the face laid flat by the eyes and the base of
the nose. Measured on our clips, as correlations: from one frame to the next 0.93 and more, over a cut 0.2 to
0.35; faces of one person in two shots at like poses 0.93 to 0.99, of two persons 0.24 to 0.69.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from preparation.geometry.landmark_names import LEFT_EYE_CORNER, RIGHT_EYE_CORNER
from preparation.tracking.landmarks import LandmarkTrack
from utils.errors import UserError

# Largest correlation of two frames on either side of a cut, and least unlikeness over the clip's median.
CUT, CUT_OVER_MEDIAN = 0.6, 8.0
# Seconds without a face: after more, another picture is no cut; after less, it is the same person.
LONGEST_GAP, SHORT_GAP = 1.0, 0.2
# Shots of fewer frames with a face are not judged.
LEAST_FRAMES = 5
# Faces of one person correlate by more, at poses that differ by less (degrees of yaw).
SAME_PERSON, LIKE_POSE = 0.72, 10.0
# The most alike pairs of frames of two shots are looked at, of so many frames of each.
PAIRS, SAMPLE = 5, 60


class Cut(NamedTuple):
    """A frame that begins another shot, or the part behind a gap without a usable face."""

    frame: int
    is_other_shot: bool
    # Correlation of the faces before and after at like poses; None where there are none.
    likeness: float | None


def check_shots(track: LandmarkTrack, rate: float, start: float, name: str) -> list[str]:
    """Refuse a clip that goes on with another person; return a note for each other cut.

    rate: frames per second; start: seconds in the video. Raises UserError with the time and the way out.
    """
    notes = []
    for cut in find_cuts(track, rate):
        time = start + cut.frame / rate
        if cut.likeness is not None and cut.likeness < SAME_PERSON:
            raise UserError(
                f"{name}: from {time:.2f} s on it shows another person (likeness of the faces "
                f"{cut.likeness:.2f}, expected {SAME_PERSON:g} or more); choose one by --start {time:.2f} or "
                f"--end {time:.2f}, or take all by --no-check_shots"
            )
        if cut.is_other_shot:
            notes.append(
                f"a cut to another shot at {time:.2f} s; choose one by --start and --end if views differ"
            )
    return notes


def find_cuts(track: LandmarkTrack, rate: float) -> list[Cut]:
    """Where one part with a face ends and another begins."""
    frames = np.flatnonzero(track.kept)
    if len(frames) < 2:
        return []
    pictures = normalized(track.thumbnails[frames])
    unlike = 1 - (pictures[1:] * pictures[:-1]).sum(axis=1)  # [F - 1]
    is_cut = (unlike > 1 - CUT) & (unlike > CUT_OVER_MEDIAN * np.median(unlike))
    gaps = np.diff(frames)
    is_cut &= gaps <= max(1, LONGEST_GAP * rate)
    ends = np.flatnonzero(is_cut | (gaps > max(1, SHORT_GAP * rate)))
    return [
        Cut(int(after[0]), bool(is_cut[end]), _likeness(track, before, after))
        for end, (before, after) in zip(ends, pairwise(np.split(frames, ends + 1)), strict=True)
    ]


def _likeness(track: LandmarkTrack, before: np.ndarray, after: np.ndarray) -> float | None:
    """Mean correlation of the most alike pairs of faces, from frames of like pose."""
    if min(len(before), len(after)) < LEAST_FRAMES:
        return None
    first, second = (_spread(shot) for shot in (before, after))
    is_like = abs(_yaw(track, first)[:, None] - _yaw(track, second)) < LIKE_POSE
    if is_like.sum() < PAIRS:
        return None
    correlations = normalized(track.chips[first]) @ normalized(track.chips[second]).T
    return float(np.sort(correlations[is_like])[-PAIRS:].mean())


def _spread(shot: np.ndarray) -> np.ndarray:
    return shot[np.linspace(0, len(shot) - 1, min(SAMPLE, len(shot))).astype(int)]


def _yaw(track: LandmarkTrack, frames: np.ndarray) -> np.ndarray:  # [S] degrees
    across = track.landmarks[frames, LEFT_EYE_CORNER] - track.landmarks[frames, RIGHT_EYE_CORNER]
    return np.rad2deg(np.arctan2(across[:, 2], across[:, 0]))


def normalized(pictures: np.ndarray) -> np.ndarray:  # [S, h, w] -> [S, h w]
    """Pictures as vectors of mean 0 and length 1, whose products are their correlations."""
    rows = pictures.reshape(len(pictures), -1).astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
