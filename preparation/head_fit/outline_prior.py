"""How skull, ears and neck of a person may differ from the guess when the face is known.

Two things are known of them before any picture is seen: how heads differ in the population (the head
model's identity shapes), and that what these leave out is smooth and about alike on both sides. Both are
Gaussian, and so is their sum given the landmarks (Rasmussen and Williams 2006, Eq. 2.24). Its principal axes,
spread over the mesh from some handles, are the modes in which an outline is fitted.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from parametric_head.landmarks import NUM_CANONICAL, NUM_LANDMARKS, LandmarkPlaces
from parametric_head.model import ParametricHead
from parametric_head.surface import spread
from parametric_head.zones import EAR, FACE, FOREHEAD, NECK, NO_ZONE, SKULL, above_jaw, zones

# Between handles by zone, and from handles to landmarks; cm.
_SPACING = {SKULL: 3.0, EAR: 1.0, NECK: 2.5, FACE: 2.5, NO_ZONE: 3.0}
_FREE = 1.5
# What the identity leaves out: standard deviation, and how far it is alike, cm; of everything, of ears.
_REMAINDER, _ALIKE = 0.6, 5.0
_EAR_REMAINDER, _ALIKE_ON_EARS = 0.4, 4.0
# Of necks, which lean too: growing from the jaw to so far below it.
_NECK_REMAINDER, _ALIKE_ON_NECK, _NECK_LENGTH = 1.8, 12.0, 8.0
# Share of the variance that both sides have in common.
_SYMMETRIC = 0.9
# Neighbouring landmarks are no independent evidence: every so many, each known to so many cm.
_STRIDE, _KNOWN = 3, 0.2
# Modes: cm of the smallest one's root mean square over the handles, and how many at most.
_LEAST, _MOST_MODES = 0.01, 160


class Modes(NamedTuple):
    """Displacements of the mesh: weights @ modes, the weights N(0, 1)."""

    handles: LandmarkPlaces  # M places
    at_handles: np.ndarray  # [C, M, 3] cm
    at_vertices: np.ndarray  # [C, V, 3] float32 cm


def outline_modes(head: ParametricHead, places: LandmarkPlaces) -> Modes:
    """Find the modes of what lies off the landmarks (478 `places`), which stay."""
    zone = zones(head)
    handles = _handles(head, places, zone)
    handle_places = LandmarkPlaces(
        np.repeat(handles[:, None], 3, axis=1).astype(np.int32),
        np.tile(np.array([1, 0, 0], np.float32), (len(handles), 1)),
    )
    at_handles = _principal(_covariance(head, places, handles, zone))  # [C, M, 3]
    both = joined(places, handle_places)
    alone = np.zeros((len(both.vertices), len(handles)))
    alone[NUM_LANDMARKS:] = np.eye(len(handles))
    # Of the skin only: the rest stays.
    influence = spread(head, both, alone).astype(np.float32)  # [V, M]
    at_vertices = np.einsum("vm,cmk->cvk", influence, at_handles.astype(np.float32), optimize=True)
    return Modes(handle_places, at_handles, at_vertices)


def joined(places: LandmarkPlaces, others: LandmarkPlaces) -> LandmarkPlaces:
    """Places, then others."""
    return LandmarkPlaces(*(np.concatenate(pair) for pair in zip(places, others, strict=True)))


def _handles(head: ParametricHead, places: LandmarkPlaces, zone: np.ndarray) -> np.ndarray:  # [M]
    """Vertices far from landmarks and from each other (farthest-point sampling), alike on both sides."""
    parts = (head.part("face"), head.part("head_neck"))
    skin = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    points = head.neutral.astype(np.float64)
    landmarks = cKDTree(places.of(points)[:NUM_CANONICAL])
    is_free = (landmarks.query(points[skin])[0] > _FREE) & (points[skin, 0] > -1e-3)
    # Landmarks surround the inside of nostrils and lips.
    is_free &= (zone[skin] != FACE) | (points[skin, 2] < FOREHEAD)
    free = skin[is_free]
    spacing = np.array([_SPACING[index] for index in range(len(_SPACING))])[zone[free]]
    # In units of the spacing that is wanted there.
    distance = np.full(len(free), np.inf)
    chosen = []
    farthest = int(points[free, 1].argmax())
    while distance.max() > 1:
        chosen.append(free[farthest])
        distance = np.minimum(
            distance, np.linalg.norm(points[free] - points[free[farthest]], axis=1) / spacing
        )
        farthest = int(distance.argmax())
    mirrored = skin[cKDTree(points[skin]).query(points[chosen] * [-1, 1, 1])[1]]
    return np.unique(np.concatenate([chosen, mirrored]))


def _covariance(
    head: ParametricHead, places: LandmarkPlaces, handles: np.ndarray, zone: np.ndarray
) -> np.ndarray:
    """Of the handles' displacements given that the landmarks stay: [3 M, 3 M] cm^2, all x before y, z."""
    landmarks = np.arange(0, NUM_CANONICAL, _STRIDE)
    known = places.vertices[landmarks, places.barycentric[landmarks].argmax(axis=1)]
    vertices = np.concatenate([handles, known])
    shapes = np.swapaxes(head.identity[:, vertices].astype(np.float64), 1, 2)  # [K, 3, N]
    shapes = shapes.reshape(len(shapes), -1)
    prior = shapes.T @ shapes
    count, num_handles = len(vertices), len(handles)
    for axis, mirror in enumerate((-1, 1, 1)):
        block = slice(axis * count, (axis + 1) * count)
        prior[block, block] += _remainder(head.neutral[vertices].astype(np.float64), zone[vertices], mirror)
    is_handle = np.tile(np.arange(count) < num_handles, 3)
    across = prior[np.ix_(~is_handle, is_handle)]
    seen = prior[np.ix_(~is_handle, ~is_handle)]
    seen[np.diag_indices_from(seen)] += _KNOWN**2
    return prior[np.ix_(is_handle, is_handle)] - across.T @ np.linalg.solve(seen, across)


def _remainder(points: np.ndarray, zone: np.ndarray, mirror: int) -> np.ndarray:  # [N, N] cm^2
    """Covariance along an axis of what is smooth; mirror: -1 where the other side moves the other way."""
    below = np.clip(-above_jaw(points) / _NECK_LENGTH, 0, 1)
    terms = (
        (np.full(len(points), _REMAINDER), _ALIKE),
        (np.where(zone == EAR, _EAR_REMAINDER, 0.0), _ALIKE_ON_EARS),
        (_NECK_REMAINDER * below, _ALIKE_ON_NECK),
    )
    total = np.zeros((len(points), len(points)))
    for others, share in ((points, 1.0), (points * [-1, 1, 1], mirror * _SYMMETRIC)):
        distance = cdist(points, others)
        for deviation, alike in terms:
            total += share * np.outer(deviation, deviation) * _matern(distance / alike)
    return total / (1 + _SYMMETRIC)


def _matern(distance: np.ndarray) -> np.ndarray:
    """Matern's kernel of order 5/2: twice differentiable (Rasmussen and Williams 2006, Eq. 4.17)."""
    scaled = np.sqrt(5) * distance
    return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)


def _principal(covariance: np.ndarray) -> np.ndarray:  # [C, M, 3]
    variances, axes = np.linalg.eigh(covariance)
    num_handles = len(covariance) // 3
    order = np.argsort(-variances)[:_MOST_MODES]
    order = order[variances[order] > num_handles * _LEAST**2]
    modes = (axes[:, order] * np.sqrt(variances[order])).T
    return np.swapaxes(modes.reshape(len(order), 3, num_handles), 1, 2)
