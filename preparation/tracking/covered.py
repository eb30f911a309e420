"""Frames in which something covers the face: a hand, a microphone. They would be learned as skin."""

import numpy as np

# Residual flow over the median of the clip. On a clip with a hand before the mouth covered frames had 7 to 13
# times the median, all others up to 2.9.
STANDS_OUT = 5.0


def find_covered(flow: np.ndarray) -> np.ndarray:  # [F] -> bool [F]
    """Which frames' residual flow, after their pose was refined, stands out of the clip."""
    return flow > STANDS_OUT * np.median(flow)


def spans(seconds: np.ndarray, step: float) -> list[str]:
    """Times [C], ascending, as spans in words; neighbours are at most 1.5 `step` apart."""
    if not len(seconds):
        return []
    parts = np.split(seconds, np.flatnonzero(np.diff(seconds) > 1.5 * step) + 1)
    return [f"{part[0]:.2f} to {part[-1]:.2f} s" if len(part) > 1 else f"{part[0]:.2f} s" for part in parts]
