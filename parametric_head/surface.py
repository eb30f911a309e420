"""The skin as a smooth surface: what is known at some landmarks is spread over all of it.

Displacements are as smooth as they can be in the sense of the mesh's graph Laplacian (Sorkine et al. 2004),
so that the lips, which touch, can move apart; far from every landmark they fade. What is rigid inside of
the head goes with the skin around it.
"""

import functools

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from parametric_head.landmarks import (
    IRISES,
    LOWER_LIDS,
    LOWER_LIP,
    NUM_CANONICAL,
    NUM_LANDMARKS,
    UPPER_LIDS,
    UPPER_LIP,
    LandmarkPlaces,
)
from parametric_head.model import ParametricHead

SKIN = ("face", "head_neck", "mouth_socket", "eye_socket_left", "eye_socket_right")
# Of the Laplacian, and of the displacement itself, against 1 for a landmark.
_STIFFNESS, _FADING = 1.0, 1e-4
# cm: vertices of two parts that are as near as this are one.
_SAME = 1e-3


@functools.lru_cache(maxsize=2)
def welded(head: ParametricHead) -> tuple[np.ndarray, int]:
    """The number of each vertex [V] where coincident ones count once, and how many there are."""
    keys = np.round(head.neutral / _SAME).astype(np.int64)
    _, index = np.unique(keys, axis=0, return_inverse=True)
    index = index.ravel()
    return index, int(index.max()) + 1


@functools.lru_cache(maxsize=2)
def laplacian(head: ParametricHead) -> scipy.sparse.csr_matrix:
    """The graph Laplacian of the skin over welded vertices: a vertex less the mean of its neighbours."""
    index, count = welded(head)
    triangles = index[head.triangles_of(*SKIN)]
    start = triangles[:, [0, 1, 2, 1, 2, 0]].ravel()
    end = triangles[:, [1, 2, 0, 0, 1, 2]].ravel()
    adjacent = scipy.sparse.coo_matrix((np.ones(len(start)), (start, end)), shape=(count, count)).tocsr()
    adjacent.data[:] = 1
    degree = np.asarray(adjacent.sum(axis=1)).ravel()
    mean = scipy.sparse.diags(1 / np.maximum(degree, 1)) @ adjacent
    return scipy.sparse.diags((degree > 0).astype(float)) - mean


def solve_symmetric(system: scipy.sparse.spmatrix, right: np.ndarray) -> np.ndarray:
    """Solve system @ x = right for a symmetric, positive definite system [N, N] and right [N] or [N, C].

    Ordered as such a system is, and without pivoting: half the time of SuperLU's default.
    """
    factors = scipy.sparse.linalg.splu(
        system.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return factors.solve(right)


def spread(head: ParametricHead, places: LandmarkPlaces, offsets: np.ndarray) -> np.ndarray:  # [V, 3]
    """Spread displacements of landmarks [N, 3] over the mesh, in their unit.

    The first 478 are MediaPipe's; what follows are places of the skin too.
    """
    index, count = welded(head)
    on_skin = np.delete(np.arange(len(offsets)), range(NUM_CANONICAL, NUM_LANDMARKS))
    rows = np.repeat(np.arange(len(on_skin)), 3)
    columns = index[places.vertices[on_skin]].ravel()
    weights = places.barycentric[on_skin].ravel().astype(np.float64)
    picked = scipy.sparse.coo_matrix((weights, (rows, columns)), shape=(len(on_skin), count)).tocsr()
    smooth = laplacian(head)
    system = _STIFFNESS * smooth.T @ smooth + _FADING * scipy.sparse.identity(count) + picked.T @ picked
    solved = solve_symmetric(system, picked.T @ offsets[on_skin])
    moved = solved[index]
    for name, around in _around().items():
        moved[head.part(name)] = offsets[around].mean(axis=0)
    return moved


def _around() -> dict[str, list[int]]:
    """Landmarks around what is rigid."""
    lips = [*UPPER_LIP, *LOWER_LIP]
    return {
        "eyeball_left": [*UPPER_LIDS[7:], *LOWER_LIDS[7:], *IRISES[0]],
        "eyeball_right": [*UPPER_LIDS[:7], *LOWER_LIDS[:7], *IRISES[1]],
        "gums_tongue": lips,
        "teeth": lips,
    }
