"""Smoothing in time without lag: a penalty on second differences, minimised in the basis of cosines.

The smoothest series near the data, min sum (y - x)^2 + s sum (second difference of x)^2, is a product with
1 / (1 + s (2 - 2 cos w)^2) in the discrete cosine transform (Garcia 2010): a zero-phase low pass. Its
strength s comes from a cut-off frequency, or from the data themselves by generalised cross-validation (Craven
and Wahba 1979): where noise is small against the motion, next to nothing is smoothed.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.fft import dct, idct
from scipy.optimize import minimize_scalar

from preparation.geometry.rigid import Poses, exp_so3, log_so3
from preparation.tracking.landmarks import LandmarkTrack

# Hz: as fast as a head moves.
NODDING = 4.0
# Samples; shorter runs stay as they are.
_MIN_RUN = 8
# Decades in which cross-validation looks.
_LOG_STRENGTH = (-6.0, 6.0)


class SmoothedPoses(NamedTuple):
    """Poses, and the chosen cut-offs (-3 dB) of rotation and translation, cycles per frame."""

    poses: Poses
    cutoffs: tuple[float, float]


def runs(frames: np.ndarray) -> list[slice]:
    """Split ascending frame numbers into runs without a gap."""
    breaks = np.flatnonzero(np.diff(frames) != 1) + 1
    edges = [0, *breaks.tolist(), len(frames)]
    return [slice(a, b) for a, b in pairwise(edges)]


def low_pass(series: np.ndarray, frames: np.ndarray, cutoff: float) -> np.ndarray:
    """Smooth [F, D], each run by itself, with half the power left at `cutoff` (cycles per frame, < 0.5)."""
    return _smooth(series, frames, strength_of(cutoff))


def smooth_poses(poses: Poses, frames: np.ndarray, rate: float) -> SmoothedPoses:
    """Smooth poses as far as their noise warrants; rotation and translation are judged apart.

    rate: frames per second. In few frames, or slow ones, motion looks like noise to cross-validation: what is
    slower than NODDING always stays.
    """
    middle = poses.rotations[len(poses.rotations) // 2]
    turns = log_so3(poses.rotations @ middle.T)
    strongest = strength_of(NODDING / rate)
    strengths = [min(best_strength(series, frames), strongest) for series in (turns, poses.translations)]
    turns, translations = (
        _smooth(series, frames, s) for series, s in zip((turns, poses.translations), strengths, strict=True)
    )
    cutoffs = tuple(cutoff_of(s) for s in strengths)
    return SmoothedPoses(Poses(exp_so3(turns) @ middle, translations), cutoffs)


def smooth_expressions(track: LandmarkTrack, cutoff: float) -> np.ndarray:  # [F, E]
    """Low-pass the coefficients without lag and keep them in [0, 1]; cutoff in cycles per frame."""
    frames = np.flatnonzero(track.kept)
    smoothed = track.coefficients.astype(np.float64)
    smoothed[frames] = smooth_coefficients(smoothed[frames], frames, cutoff)
    return smoothed


def smooth_coefficients(coefficients: np.ndarray, frames: np.ndarray, cutoff: float) -> np.ndarray:
    """Low-pass coefficients [F, E] without lag and keep them in [0, 1]; cutoff in cycles per frame."""
    if cutoff < 0.5:
        coefficients = low_pass(coefficients, frames, cutoff)
    return np.clip(coefficients, 0, 1)


def best_strength(series: np.ndarray, frames: np.ndarray) -> float:
    """Find the strength with the least cross-validation score over all runs and columns of [F, D]."""
    spectra = [
        (dct(series[run], axis=0, norm="ortho"), _penalty(run)) for run in runs(frames) if _is_long(run)
    ]
    if not spectra:
        return 0.0
    # Columns count alike, whatever their spread.
    scale = np.std(series, axis=0) + 1e-12

    def score(log_strength: float) -> float:
        errors, freedom, count = 0.0, 0.0, 0
        for spectrum, penalty in spectra:
            left = 1 - 1 / (1 + 10**log_strength * penalty)  # [n]
            errors = errors + ((left[:, None] * spectrum / scale) ** 2).sum(axis=0)
            freedom += left.sum()
            count += len(left)
        return float(np.log(errors / count + 1e-30).sum() - 2 * len(scale) * np.log(freedom / count))

    return 10.0 ** minimize_scalar(score, bounds=_LOG_STRENGTH, method="bounded").x


def strength_of(cutoff: float) -> float:
    """The strength whose gain is 1 / sqrt 2 at a cut-off in cycles per frame."""
    return (np.sqrt(2) - 1) / (2 - 2 * np.cos(2 * np.pi * min(cutoff, 0.5))) ** 2


def cutoff_of(strength: float) -> float:
    """Invert `strength_of`; 0.5, the highest frequency there is, where nothing is cut."""
    if strength <= 0:
        return 0.5
    cosine = 1 - np.sqrt((np.sqrt(2) - 1) / strength) / 2
    return float(np.arccos(np.clip(cosine, -1, 1)) / (2 * np.pi))


def jitter(series: np.ndarray, frames: np.ndarray) -> np.ndarray:  # [F, D] -> [D]
    """Mean absolute second difference, inside of runs."""
    seconds = [np.abs(np.diff(series[run], n=2, axis=0)) for run in runs(frames)]
    return np.concatenate(seconds).mean(axis=0) if sum(map(len, seconds)) else np.zeros(series.shape[1])


def _smooth(series: np.ndarray, frames: np.ndarray, strength: float) -> np.ndarray:
    smoothed = series.astype(np.float64)
    for run in runs(frames):
        if _is_long(run):
            gain = 1 / (1 + strength * _penalty(run))
            smoothed[run] = idct(
                gain[:, None] * dct(smoothed[run], axis=0, norm="ortho"), axis=0, norm="ortho"
            )
    return smoothed


def _is_long(run: slice) -> bool:
    return run.stop - run.start >= _MIN_RUN


def _penalty(run: slice) -> np.ndarray:  # [n]
    n = run.stop - run.start
    return (2 - 2 * np.cos(np.pi * np.arange(n) / n)) ** 2
