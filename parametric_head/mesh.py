"""Triangles [T, 3] over vertices [V, 3], whatever they are of."""

import numpy as np


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:  # [V, 3]
    """Unit normals, those of the triangles around weighted by area."""
    first, second, third = vertices[triangles].transpose(1, 0, 2)
    of_triangle = np.cross(second - first, third - first)
    normals = np.zeros_like(vertices)
    for corner in triangles.T:
        np.add.at(normals, corner, of_triangle)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def facing_camera(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The triangles whose outside is seen; the others add nothing to a picture. points: of the camera."""
    first, second, third = (points[corner] for corner in triangles.T)  # [T, 3]
    return triangles[(np.cross(second - first, third - first) * first).sum(axis=1) < 0]
