"""Where MediaPipe's landmarks lie on the mesh."""

from typing import NamedTuple

import numpy as np


class LandmarkPlaces(NamedTuple):
    """Landmark i lies at the sum of `barycentric[i]` times the vertices `vertices[i]`."""

    vertices: np.ndarray  # [478, 3] int32
    barycentric: np.ndarray  # [478, 3] float32

    def of(self, mesh: np.ndarray) -> np.ndarray:
        """The landmarks [..., 478, 3] of meshes [..., V, 3]."""
        return np.einsum("...lkc,lk->...lc", mesh[..., self.vertices, :], self.barycentric)
