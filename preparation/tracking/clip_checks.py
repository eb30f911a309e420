"""Clips that cannot work are refused, with the numbers that say why."""

import numpy as np

from preparation.geometry.rigid import Poses, log_so3
from preparation.tracking.landmarks import NO_FACE, TWO_FACES, LandmarkTrack
from preparation.tracking.smoothing import low_pass
from utils.errors import UserError

MIN_SECONDS, MIN_FRAMES = 2.0, 30
# Pixels of the video.
MIN_FACE_HEIGHT = 80
# Shares of the frames.
MIN_USABLE, MAX_TWO_FACES = 0.5, 0.2
# The head must turn by so many degrees, or the second liveliest expression coefficient change by so much.
MIN_TURN, MIN_CHANGE = 0.5, 0.05
# Hz: only motion up to there is looked at.
SLOW = 1.0


def check_track(track: LandmarkTrack, name: str, seconds: float) -> None:
    """Refuse a clip by what was tracked. Raises UserError."""
    total, reasons = track.num_frames, list(track.dropped.values())
    if not total:
        raise UserError(f"{name}: no frame could be decoded between --start and --end")
    if seconds < MIN_SECONDS or total < MIN_FRAMES:
        raise UserError(
            f"{name}: {total} frames, {seconds:.2f} s; expected at least {MIN_FRAMES} frames "
            f"and {MIN_SECONDS:g} s"
        )
    with_two = reasons.count(TWO_FACES)
    if with_two > MAX_TWO_FACES * total:
        raise UserError(
            f"{name}: two faces in {with_two} of {total} frames; expected one person, crop the video"
        )
    usable = int(track.kept.sum())
    if usable < max(MIN_USABLE * total, 1):
        faceless = reasons.count(NO_FACE)
        raise UserError(
            f"{name}: the face can be used in {usable} of {total} frames ({faceless} without a face); "
            f"expected at least {MIN_USABLE:.0%}; choose a part by --start and --end"
        )
    height = face_height(track)
    if height < MIN_FACE_HEIGHT:
        raise UserError(
            f"{name}: the face is {height:.0f} pixels high; expected at least {MIN_FACE_HEIGHT}, "
            "better 250: film closer or in higher resolution"
        )


def face_height(track: LandmarkTrack) -> float:
    """The usual height of the face, pixels."""
    return float(np.median(np.ptp(track.landmarks[track.kept, :, 1], axis=1)))


def check_motion(
    poses: Poses,
    coefficients: np.ndarray,  # [F, E]
    image_ids: np.ndarray,  # [F]
    rate: float,
    name: str,
) -> None:
    """Refuse a clip in which nothing moves, such as a photograph, filmed or not. Raises UserError.

    rate: images per second.
    """
    turns = np.rad2deg(log_so3(poses.rotations @ poses.rotations[0].T))
    # The noise of what finds faces is no motion.
    if rate > 2 * SLOW:
        turns, coefficients = (low_pass(series, image_ids, SLOW / rate) for series in (turns, coefficients))
    # A face that moves shows in several coefficients, noise in a single one.
    turn, change = float(_range(turns).max()), float(np.sort(_range(coefficients))[-2])
    if turn < MIN_TURN and change < MIN_CHANGE:
        raise UserError(
            f"{name}: no motion: the head turns by {turn:.2f} degrees (expected {MIN_TURN:g} or more) and "
            f"all expression coefficients but one change by {change:.3f} at most (expected {MIN_CHANGE:g}); "
            "is it a still picture?"
        )


def _range(values: np.ndarray) -> np.ndarray:  # [F, D] -> [D]
    """Between the 5th and the 95th percentile: a flash or a cut is no motion."""
    low, high = np.percentile(values, [5, 95], axis=0)
    return high - low
