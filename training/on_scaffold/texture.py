"""Colours of the mesh's vertices: the mean of what frames show; what none shows is filled in.

First by the mirror image, where the other side was seen, then by what lies around it (harmonic: the mesh's
Laplacian of the colours is zero). The inside of the mouth, unless it was seen, is dark.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse

from parametric_head.person import SIDES
from parametric_head.surface import laplacian, solve_symmetric, welded
from parametric_head.zones import SKULL, zones
from training.on_scaffold.fitted_head import FittedHead
from training.on_scaffold.views import View
from utils.threads import in_parallel

# Of the matte: what is less is partly background.
_OPAQUE = 0.95
# Cosine of the angle to the line of sight from which on a colour is seen well.
_GRAZING = 0.2
# Sum of weights from which on a vertex is known.
_ENOUGH = 0.5
# How much, against what is known, the other side counts, and that neighbours are alike.
_MIRRORED, _FAINT = 0.01, 1e-3
# cm on the mean head above which there is hair; how much its colour counts on the rest of the skull.
_TOP, _CROWN = 9.0, 0.01
# cm that a lid moves when it closes, from which on it folds; what an open eye tells of it.
_FOLD, _OPEN = 0.4, 0.03
# Where no frame shows them.
_INSIDE = {
    "mouth_socket": (0.18, 0.07, 0.06),
    "gums_tongue": (0.45, 0.22, 0.2),
    "teeth": (0.7, 0.66, 0.6),
    "eyeball_left": (0.6, 0.57, 0.55),
    "eyeball_right": (0.6, 0.57, 0.55),
}


class Texture(NamedTuple):
    """Of V vertices."""

    color: np.ndarray  # [V, 3] 0 to 1
    seen: np.ndarray  # [V] 0 to 1


def paint(fitted: FittedHead, lifted: np.ndarray, views: Sequence[View]) -> Texture:
    """lifted [V, 3]: how much each vertex is moved outwards by hair."""
    blinks = [fitted.head.columns[f"eyeBlink{side}"] for side in SIDES]
    # What folds away over an open eye, and how much.
    folds = np.linalg.norm(fitted.mesh.shapes[blinks], axis=2) / (_FOLD * fitted.unit)
    folds = np.minimum(folds, 1)  # [2, V]

    def seen_by(view: View) -> tuple[np.ndarray, np.ndarray]:
        """Its colours [V, 3] times how far they count [V], and that."""
        coefficients = fitted.coefficients(view.expression)
        points = fitted.mesh.vertices(coefficients) + lifted
        sight = points - view.eye
        cosine = -(fitted.normals * sight).sum(axis=1) / np.linalg.norm(sight, axis=1)
        pixels = view.project(points)
        is_good = view.visible(points, fitted.head.triangles) & view.is_inside(pixels)
        is_good &= view.sample(view.matte, pixels, 0.0) > _OPAQUE
        trust = is_good * np.clip((cosine - _GRAZING) / (1 - _GRAZING), 0, 1)
        for fold, closed in zip(folds, coefficients[blinks], strict=True):
            trust = trust * (1 - fold * (1 - np.clip(closed, _OPEN, 1)))
        return trust[:, None] * view.sample(view.image, pixels, 0.0), trust

    total, weight = np.zeros((len(lifted), 3)), np.zeros(len(lifted))
    for colors, trust in in_parallel(seen_by, views):
        total += colors
        weight += trust
    known = np.clip(weight / _ENOUGH, 0, 1)
    color = total / np.maximum(weight, 1e-9)[:, None]
    return Texture(_filled(fitted, color, known), known)


def _fill_crown(fitted: FittedHead, color: np.ndarray, trust: np.ndarray) -> None:
    """What nobody saw of the skull looks like what was seen of its top: hair, mostly."""
    on_skull = zones(fitted.head) == SKULL
    is_top = on_skull & (fitted.head.neutral[:, 1] > _TOP) & (trust > 0.5)
    if is_top.any():
        unseen = on_skull & (trust < _CROWN)
        color[unseen], trust[unseen] = np.median(color[is_top], axis=0), _CROWN


def _filled(fitted: FittedHead, color: np.ndarray, known: np.ndarray) -> np.ndarray:
    other = fitted.mirrored
    trust = known + _MIRRORED * (1 - known) * known[other]
    mixed = known[:, None] * color + (trust - known)[:, None] * color[other]
    mixed /= np.maximum(trust, 1e-9)[:, None]
    _fill_crown(fitted, mixed, trust)
    for name, inside in _INSIDE.items():
        part = fitted.head.part(name)
        mixed[part] = np.where(trust[part, None] > 0.1, mixed[part], inside)
        trust[part] = 1
    index, count = welded(fitted.head)
    weights, wanted = np.zeros(count), np.zeros((count, 3))
    np.add.at(weights, index, trust)
    np.add.at(wanted, index, trust[:, None] * mixed)
    smooth = laplacian(fitted.head)
    system = _FAINT * smooth.T @ smooth + scipy.sparse.diags(weights + 1e-9)
    solved = solve_symmetric(system, wanted)
    return np.clip(np.where(known[:, None] > 0.99, color, solved[index]), 0, 1)
