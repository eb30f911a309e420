"""Frames in which something covers the face: a hand, a microphone. They would be learned as skin.

Two signs together: the residual flow of the frame stands out of the clip, and its face looks like that of no
other frame. Flow alone would also leave out the strongest expressions, which a clip has least of.
"""

import numpy as np

from preparation.tracking.shots import normalized
from utils.sampling import evenly_spread

# Residual flow over the median of the clip. With a hand before the mouth it was 7 to 13 times the median,
# else up to 2.9, and somewhat above 5 with brows raised high.
STANDS_OUT = 5.0
# Correlation with the most alike face among the other frames: of covered faces 0.67 to 0.72, of the rarest
# expressions 0.93 and more.
LIKE_ANOTHER = 0.85
# So many of the other frames are compared.
SAMPLE = 300


def find_covered(flow: np.ndarray, faces: np.ndarray) -> np.ndarray:  # bool [F]
    """Which frames are covered: `flow` [F] is left with refined poses, `faces` [F, h, w] are laid flat."""
    stands_out = flow > STANDS_OUT * np.median(flow)
    if not stands_out.any():
        return stands_out
    others = np.flatnonzero(~stands_out)
    others = others[evenly_spread(len(others), SAMPLE)]
    likeness = normalized(faces[stands_out]) @ normalized(faces[others]).T
    stands_out[stands_out] = likeness.max(axis=1) < LIKE_ANOTHER
    return stands_out


def spans(seconds: np.ndarray, step: float) -> list[str]:
    """Times [C], ascending, as spans in words; neighbours are at most 1.5 `step` apart."""
    if not len(seconds):
        return []
    parts = np.split(seconds, np.flatnonzero(np.diff(seconds) > 1.5 * step) + 1)
    return [f"{part[0]:.2f} to {part[-1]:.2f} s" if len(part) > 1 else f"{part[0]:.2f} s" for part in parts]
