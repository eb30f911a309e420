"""How thick hair stands over the skull, from the mattes.

Where a frame sees the skull's rim, the matte ends where the hair does. Between rims, and behind, where no
frame looks along the surface, the thickness goes on smoothly (least squares with the mesh's Laplacian).
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from parametric_head.surface import laplacian, solve_symmetric, welded
from parametric_head.zones import SKULL, zones
from training.on_scaffold.fitted_head import FittedHead
from training.on_scaffold.views import View
from utils.threads import in_parallel

# cm: more is no hair on a skull; what is typical where nothing tells.
MOST, TYPICAL = 6.0, 0.8
_STEP = 0.15
# Cosine between normal and line of sight within which a rim is seen.
_RIM = 0.25
# Against 1 for a rim.
_STIFFNESS, _PRIOR = 30.0, 1e-3


def hair_thickness(fitted: FittedHead, views: Sequence[View]) -> np.ndarray:  # [V] head units
    """Thickness over every vertex; 0 off the skull."""
    on_skull = np.flatnonzero(zones(fitted.head) == SKULL)
    points, normals = fitted.mesh.neutral[on_skull], fitted.normals[on_skull]
    steps = np.arange(0, MOST + _STEP, _STEP)
    rising = points[:, None] + (fitted.unit * steps)[:, None] * normals[:, None]  # [N, S, 3]

    def seen_by(view: View) -> tuple[np.ndarray, np.ndarray]:
        """Where each line of steps leaves the person, and how far that is a rim."""
        pixels = view.project(rising)
        is_inside = (view.sample(view.matte, pixels, 1.0) > 0.5) | ~view.is_inside(pixels)
        # The first step that is outside.
        leaves = np.where(is_inside.all(axis=1), MOST, steps[(~is_inside).argmax(axis=1)])
        sight = points - view.eye
        cosine = (normals * sight).sum(axis=1) / np.linalg.norm(sight, axis=1)
        return leaves, np.exp(-((cosine / _RIM) ** 2)) * (leaves < MOST)

    carved, rim = np.full(len(points), MOST), np.zeros(len(points))
    for leaves, seen_as_rim in in_parallel(seen_by, views):
        is_tighter = leaves <= carved
        rim = np.where(is_tighter, np.maximum(seen_as_rim, rim * (leaves == carved)), rim)
        carved = np.minimum(carved, leaves)
    smooth = _smoothed(fitted, on_skull, carved, rim)
    thickness = np.zeros(len(fitted.mesh.neutral))
    thickness[on_skull] = fitted.unit * np.clip(np.minimum(smooth, carved), 0, MOST)
    return thickness


def _smoothed(
    fitted: FittedHead, on_skull: np.ndarray, carved: np.ndarray, rim: np.ndarray
) -> np.ndarray:  # [N] cm
    index, count = welded(fitted.head)
    weight, wanted = np.zeros(count), np.zeros(count)
    # Skin has no hair: the hairline runs out.
    skin = np.setdiff1d(np.arange(len(index)), on_skull)
    weight[index[skin]] = 0.1
    usual = np.average(carved, weights=rim + 1e-6) if rim.sum() > 1 else TYPICAL
    usual = min(usual, 2 * TYPICAL)
    weight[index[on_skull]] = rim**2 + _PRIOR
    wanted[index[on_skull]] = (rim**2 * carved + _PRIOR * usual) / (rim**2 + _PRIOR)
    smooth = laplacian(fitted.head)
    system = _STIFFNESS * smooth.T @ smooth + scipy.sparse.diags(weight + 1e-8)
    return solve_symmetric(system, weight * wanted)[index[on_skull]]
