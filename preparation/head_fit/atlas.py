"""The face laid flat: texels on the skin that move with the head model, on a grid seen from the front.

A texel is a place on a triangle. Its depth may differ from the mesh's, mended by what the clip shows.
"""

from typing import NamedTuple

import cv2
import numpy as np

from parametric_head.drawing import draw_mesh
from parametric_head.mesh import vertex_normals
from parametric_head.person import PersonMesh
from preparation.geometry.landmark_names import LEFT_BROW, LEFT_EYE, LIPS, OUTLINE, RIGHT_BROW, RIGHT_EYE
from preparation.tracking.face_texture import depth_correction, hull_mask

# Head units between texels.
TEXEL = 0.003
# Head units: kept beyond the outline of the landmarks; clear of what moves, for the rigid part.
_BEYOND, _MARGIN = 0.04, 0.012
# Head units from which the face is seen without perspective.
_FAR = 100.0
# Z of a normal below which a texel is left out.
_LEAST_FACING = 0.25
# Texels over which a depth correction is smooth.
_DEPTH_SIGMA = 4.0
# Squared radians: it is as if every texel had been seen so often with no error.
_DEPTH_TRUST = 0.1


class Atlas(NamedTuple):
    """T texels inside of a grid."""

    neutral: np.ndarray  # [T, 3] float32 head units
    shapes: np.ndarray  # [E, T, 3] float32
    normals: np.ndarray  # [T, 3]
    # Places on the mesh.
    corners: np.ndarray  # [T, 3] vertices
    barycentric: np.ndarray  # [T, 3]
    # Places in the grid, and its shape.
    rows: np.ndarray  # [T]
    columns: np.ndarray  # [T]
    shape: tuple[int, int]
    # Clear of mouth, lids and brows: where the residual flow is told.
    is_rigid: np.ndarray  # [T] bool
    # Above the lips, without the eyes: skin that the detector's landmarks know less well than pixels do.
    is_upper: np.ndarray  # [T] bool

    def image(self, values: np.ndarray, outside: float = 0.0) -> np.ndarray:
        """Lay values [T, ...] out on the grid."""
        picture = np.full((*self.shape, *values.shape[1:]), outside, np.float32)
        picture[self.rows, self.columns] = values
        return picture

    def at(self, coefficients: np.ndarray) -> np.ndarray:  # [E] -> [T, 3]
        """Where the texels are at an expression."""
        return self.neutral + np.tensordot(coefficients.astype(np.float32), self.shapes, 1)


def make_atlas(mesh: PersonMesh, coefficients: np.ndarray) -> Atlas:
    """Lay a person's face flat as it is at the coefficients [E], which should be usual ones."""
    posed = mesh.neutral + np.tensordot(coefficients, mesh.shapes, 1)
    face, head = mesh.head.part("face"), mesh.head
    triangles = head.triangles_of("face")
    low, high = posed[face, :2].min(axis=0), posed[face, :2].max(axis=0)
    width, height = np.ceil((high - low) / TEXEL).astype(int).tolist()
    corner = np.array([low[0], high[1]])
    seen = posed * [1, -1, -1] + [0, 0, _FAR]
    drawn = draw_mesh(seen, triangles, _FAR / TEXEL, corner * [-1, 1] / TEXEL, (width, height))
    landmarks = mesh.places.of(posed)[:, :2]
    pixels = (landmarks - corner) / [TEXEL, -TEXEL]
    inside = hull_mask(pixels[OUTLINE], (height, width), _BEYOND / TEXEL)
    rows, columns = np.nonzero((drawn.triangle >= 0) & inside)
    corners = triangles[drawn.triangle[rows, columns]]
    barycentric = drawn.barycentric[rows, columns].astype(np.float64)
    normals = _mixed(vertex_normals(posed, triangles)[corners], barycentric)
    kept = normals[:, 2] > _LEAST_FACING
    rows, columns, corners, barycentric = rows[kept], columns[kept], corners[kept], barycentric[kept]
    is_rigid, is_upper = _regions(pixels, landmarks, (height, width), high[1])
    return Atlas(
        _mixed(mesh.neutral[corners], barycentric).astype(np.float32),
        np.stack([_mixed(shape[corners], barycentric) for shape in mesh.shapes]).astype(np.float32),
        normals[kept],
        corners,
        barycentric,
        rows,
        columns,
        (height, width),
        is_rigid[rows, columns],
        is_upper[rows, columns],
    )


def _regions(pixels, landmarks, shape, top) -> tuple[np.ndarray, np.ndarray]:
    """The rigid and the upper part, on the grid."""
    is_rigid = hull_mask(pixels[OUTLINE], shape, -_MARGIN / TEXEL)
    for moving in (RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW, LIPS):
        is_rigid &= ~hull_mask(pixels[moving], shape, _MARGIN / TEXEL)
    above_lips = top - TEXEL * np.arange(shape[0]) >= landmarks[LIPS, 1].max() + _MARGIN
    is_upper = np.repeat(above_lips[:, None], shape[1], axis=1)
    for eye in (RIGHT_EYE, LEFT_EYE):
        is_upper &= ~hull_mask(pixels[eye], shape, _MARGIN / TEXEL)
    return is_rigid & above_lips[:, None], is_upper


def mend_depth(atlas: Atlas, flows: np.ndarray, is_seen: np.ndarray, views: np.ndarray) -> Atlas:
    """Move texels along z so that less of the flow [S, T, 2] (texels right and down) goes with the views.

    is_seen: [S, T]. views: directions [S, 3] from the camera in the head frame. What a turn of the head could
    explain as well, and a head that is deeper or flatter as a whole, is left as the head model has it: a clip
    can't tell.
    """

    def smooth(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(atlas.image(values), (0, 0), _DEPTH_SIGMA)[atlas.rows, atlas.columns]

    shift = flows * [TEXEL, -TEXEL]  # [S, T, 2] head units
    correction, told = depth_correction(shift, views, 2 * TEXEL, _DEPTH_TRUST, smooth, is_seen)
    like_a_turn = np.column_stack([np.ones(len(told)), atlas.neutral])
    scaled = like_a_turn * told[:, None]
    correction -= like_a_turn @ np.linalg.lstsq(scaled, correction * told, rcond=None)[0]
    neutral = atlas.neutral.copy()
    neutral[:, 2] += correction
    return atlas._replace(neutral=neutral)


def _mixed(values: np.ndarray, barycentric: np.ndarray) -> np.ndarray:  # [T, 3, C], [T, 3] -> [T, C]
    return np.einsum("tkc,tk->tc", values, barycentric)
