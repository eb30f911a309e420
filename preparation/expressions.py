"""Expression coefficients over time."""

import numpy as np

from preparation.landmarks import LandmarkTrack
from preparation.smoothing import low_pass


def smooth_expressions(track: LandmarkTrack, cutoff: float) -> np.ndarray:  # [F, E]
    """Low-pass the coefficients without lag and keep them in [0, 1]; cutoff in cycles per frame."""
    frames = np.flatnonzero(track.kept)
    smoothed = track.coefficients.astype(np.float64)
    if cutoff < 0.5:
        smoothed[frames] = low_pass(smoothed[frames], frames, cutoff)
    return np.clip(smoothed, 0, 1)
