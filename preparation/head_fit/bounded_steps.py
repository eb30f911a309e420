"""Gauss-Newton steps with bounds: unknowns that would leave them are kept there, the others solved again.

Projected Newton (Bertsekas 1982) with an active set that only grows within a step; a variable at its bound is
let go in the next step, where its gradient points inwards.
"""

import numpy as np

_PASSES = 5
_TOLERANCE = 1e-9
# Of the diagonal: keeps what nothing determines where it is.
_DAMPING = 1e-6


def bounded_step(
    system: np.ndarray,  # [F, N, N] symmetric
    right: np.ndarray,  # [F, N]
    values: np.ndarray,  # [F, B] of the last B unknowns, within [0, most]
    most: float = 1.0,
) -> np.ndarray:  # [F, N]
    """Solve system @ step = right so that the last B unknowns stay in [0, most]."""
    count, free = right.shape[1], right.shape[1] - values.shape[1]
    unbounded = np.full((len(right), free), np.inf)
    low = np.concatenate([-unbounded, -values], axis=1)
    high = np.concatenate([unbounded, most - values], axis=1)
    held = ((low >= 0) & (right < 0)) | ((high <= 0) & (right > 0))
    diagonal = np.arange(count)
    damped = system.copy()
    damped[:, diagonal, diagonal] *= 1 + _DAMPING
    step = np.zeros_like(right)
    for _ in range(_PASSES):
        rest = right - (damped @ np.where(held, step, 0)[..., None])[..., 0]
        reduced = np.where(held[:, :, None] | held[:, None, :], 0, damped)
        reduced[:, diagonal, diagonal] += held
        solved = np.linalg.solve(reduced, np.where(held, 0, rest)[..., None])[..., 0]
        step = np.where(held, step, solved)
        leaves = ~held & ((step < low - _TOLERANCE) | (step > high + _TOLERANCE))
        step = np.clip(step, low, high)
        if not leaves.any():
            break
        held |= leaves
    return step
