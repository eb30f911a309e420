"""The relief of the rigid part of a face: a depth for every (x, y) of the head frame."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from scipy.interpolate import CloughTocher2DInterpolator
from scipy.spatial import Delaunay

from preparation.geometry.landmark_names import LEFT_BROW, LEFT_EYE, LIPS, OUTLINE, RIGHT_BROW, RIGHT_EYE
from preparation.geometry.rigid import Poses
from preparation.tracking.face_texture import depth_correction, hull_mask

# Head units; 0.48 is the height of a face, some 260 pixels of 512.
TEXEL = 0.0025
# Head units kept clear of the outline, where skin turns away, and of what moves.
MARGIN = 0.012
# Texels over which a depth correction is smooth.
_DEPTH_SIGMA = 4.0
# Squared radians: it is as if every texel had been seen so often with no error.
_DEPTH_TRUST = 0.02
# Texels over which slopes are smooth.
_SLOPE_SIGMA = 3.0
# Landmarks on the skin; the rest are irises.
_NUM_MESH = 468


class Relief(NamedTuple):
    """Texels on the rigid part of a face, T of them inside a grid."""

    points: np.ndarray  # [T, 3] head units
    normals: np.ndarray  # [T, 3]
    # Places in the grid, and its shape.
    rows: np.ndarray  # [T]
    columns: np.ndarray  # [T]
    shape: tuple[int, int]

    def thinned(self, every: int) -> "Relief":
        """Keep every so many texels."""
        return Relief(*(field[::every] for field in self[:4]), self.shape)

    def image(self, values: np.ndarray, outside: float = 0.0) -> np.ndarray:
        """Lay values [T, ...] out on the grid."""
        picture = np.full((*self.shape, *values.shape[1:]), outside, np.float32)
        picture[self.rows, self.columns] = values
        return picture


def face_relief(landmarks: np.ndarray, texel: float = TEXEL) -> Relief:
    """Make the relief of the rigid part from a person's landmarks [478, 3] in the head frame.

    Left out: mouth and what is below the nose, eyes with their lids, brows, and the rim of the face.
    """
    xy = landmarks[:_NUM_MESH, :2]
    low, high = landmarks[OUTLINE, :2].min(0), landmarks[OUTLINE, :2].max(0)
    shape = tuple(np.ceil((high - low) / texel).astype(int)[::-1])
    grid_x, grid_y = low[0] + texel * np.arange(shape[1]), high[1] - texel * np.arange(shape[0])
    depth = CloughTocher2DInterpolator(Delaunay(xy), landmarks[:_NUM_MESH, 2])(*np.meshgrid(grid_x, grid_y))

    def region(indices: np.ndarray, grow: float) -> np.ndarray:
        polygon = (landmarks[indices, :2] - [low[0], high[1]]) / [texel, -texel]
        return hull_mask(polygon, shape, grow / texel)

    usable = region(OUTLINE, -MARGIN) & np.isfinite(depth)
    for moving in (RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW, LIPS):
        usable &= ~region(moving, MARGIN)
    usable[grid_y < landmarks[LIPS, 1].max() + MARGIN] = False
    slope_y, slope_x = np.gradient(
        cv2.GaussianBlur(np.nan_to_num(depth), (0, 0), _SLOPE_SIGMA), -texel, texel
    )
    rows, columns = np.nonzero(usable)
    points = np.column_stack([grid_x[columns], grid_y[rows], depth[rows, columns]])
    normals = np.column_stack([-slope_x[rows, columns], -slope_y[rows, columns], np.ones(len(rows))])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return Relief(points, normals, rows, columns, shape)


def mend_relief(relief: Relief, flows: Sequence[np.ndarray], poses: Poses) -> Relief:
    """Move texels along z so that less of the flow [T, 2] (texels right and down) goes with the views."""
    shift = np.stack(flows) * [TEXEL, -TEXEL]  # [S, T, 2] head units
    views = np.einsum("fij,fi->fj", poses.rotations, poses.translations)

    def smooth(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(relief.image(values), (0, 0), _DEPTH_SIGMA)[relief.rows, relief.columns]

    correction, _ = depth_correction(shift, views, 2 * TEXEL, _DEPTH_TRUST, smooth)
    points = relief.points.copy()
    points[:, 2] += correction
    return relief._replace(points=points)
