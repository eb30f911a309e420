"""The detector's 478 landmarks as points of the head model: where they are seen, and what they are worth.

Landmarks are not independent: a detector draws a whole face at once. So each region counts about as much as
the few things that it can tell: a lid as much as a cheek with its hundred points.
"""

from typing import NamedTuple

import numpy as np

from parametric_head.landmarks import (
    IRISES,
    LOWER_LIDS,
    LOWER_LIP,
    MIDDLE_OF_LIDS,
    NUM_LANDMARKS,
    UPPER_LIDS,
    UPPER_LIP,
    LandmarkPlaces,
)
from parametric_head.mesh import vertex_normals
from parametric_head.model import ParametricHead
from parametric_head.person import PersonMesh, eye_centers, gaze_axes, gaze_columns
from preparation.geometry.camera import Camera
from preparation.geometry.landmark_names import LEFT_BROW, LEFT_EYE, OUTLINE, RIGHT_BROW, RIGHT_EYE
from preparation.geometry.rigid import Poses
from utils.so3 import exp_so3, skew

# By eye, left first: outer and inner corner.
_CORNERS = ((263, 362), (33, 133))
# Shares of a face's height: what a landmark is off by, however well it is repeated.
NOISE = 0.006
# Noise beyond which a landmark counts less (Cauchy's weights).
_ROBUST = 8.0
# Independent observations per landmark.
_ANY, _RIM, _BROW, _LIP, _LID = 0.1, 0.05, 0.3, 0.5, 1.0
# Cosine between skin and view from which on a landmark counts in full, and what the hidden ones count.
_FACING, _HIDDEN = 0.35, 0.02
# Upper and lower landmarks that face each other: lids, and the inner lips. How far they are apart is known
# better than where they are: in shares of their noise.
GAPS = np.array(
    [
        (159, 145),
        (158, 153),
        (160, 144),
        (386, 374),
        (385, 380),
        (387, 373),
        (13, 14),
        (82, 87),
        (312, 317),
        (81, 178),
        (311, 402),
    ]
)
_GAP_NOISE = 0.4
# Openness of an eye (lids apart, in widths) from which its iris is believed, and until when it grows.
_SHUT, _OPENING = 0.08, 0.15
# cm over which normals are averaged: a lid's own normal says nothing of whether the eye is seen.
_NORMAL_SIGMA = 1.5


class HeadPoints(NamedTuple):
    """P points that move with pose, expression and gaze; in any unit."""

    neutral: np.ndarray  # [P, 3]
    shapes: np.ndarray  # [E, P, 3]
    # Smoothed: out of the face.
    normals: np.ndarray  # [P, 3]
    # Left, right.
    eye_centers: np.ndarray  # [2, 3]
    gaze: tuple[np.ndarray, np.ndarray]  # [4] columns each: out, in, up, down

    def at(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points [F, P, 3] at coefficients [F, E], and their derivatives by them [F, P, 3, E]."""
        points = self.neutral + np.tensordot(coefficients, self.shapes, 1)
        slopes = np.broadcast_to(self.shapes.transpose(1, 2, 0), (*points.shape, len(self.shapes))).copy()
        for side, iris in enumerate(IRISES):
            axes, columns, center = gaze_axes(side), self.gaze[side], self.eye_centers[side]
            turn = exp_so3(coefficients[:, columns] @ axes)
            looked = (self.neutral[iris] - center) @ turn.transpose(0, 2, 1)  # [F, 5, 3]
            points[:, iris] = center + looked
            slopes[:, iris] = 0
            for axis, column in zip(axes, columns, strict=True):
                slopes[..., column][:, iris] = np.cross(axis, looked)
        return points, slopes


class Linearized(NamedTuple):
    """Residuals of landmarks, and their derivatives by pose and coefficients."""

    residual: np.ndarray  # [F, P, 2] pixels
    # Turn and shift along the camera's axes, then coefficients.
    jacobian: np.ndarray  # [F, P, 2, 6 + E]
    by_point: np.ndarray  # [F, P, 2, 3]


def points_of_mesh(mesh: PersonMesh) -> HeadPoints:
    """The landmarks of a person, in head units."""
    return _points(mesh.head, mesh.places.first(NUM_LANDMARKS), mesh.neutral, mesh.shapes)


def mean_points(head: ParametricHead, places: LandmarkPlaces) -> HeadPoints:
    """The landmarks of the mean head, in cm."""
    return _points(head, places, head.neutral, head.expression)


def _points(
    head: ParametricHead, places: LandmarkPlaces, neutral: np.ndarray, shapes: np.ndarray
) -> HeadPoints:
    gaze = tuple(gaze_columns(head, side) for side in (0, 1))
    at_rest, moved = (places.of(mesh).astype(np.float64) for mesh in (neutral, shapes))
    return HeadPoints(at_rest, moved, landmark_normals(head, places), eye_centers(head, neutral), gaze)


def landmark_normals(head: ParametricHead, places: LandmarkPlaces) -> np.ndarray:  # [N, 3]
    """Normals of the mean head at the landmarks, averaged over their surroundings."""
    face = head.part("face")
    triangles = head.triangles_of("face")
    normals, skin = vertex_normals(head.neutral, triangles)[face], head.neutral[face]
    where = places.of(head.neutral)
    squared = ((where[:, None] - skin[None]) ** 2).sum(axis=-1)
    averaged = np.exp(-squared / (2 * _NORMAL_SIGMA**2)) @ normals
    return averaged / np.linalg.norm(averaged, axis=1, keepdims=True)


def linearize(
    observed: np.ndarray, points: HeadPoints, poses: Poses, coefficients: np.ndarray, camera: Camera
) -> Linearized:
    """Residuals of observed pixels [F, P, 2] at poses and coefficients [F, E], and derivatives."""
    placed, slopes = points.at(coefficients)
    turned = placed @ poses.rotations.transpose(0, 2, 1)
    x, y, z = np.moveaxis(turned + poses.translations[:, None], -1, 0)
    residual = observed - camera.focal * np.stack([x / z, y / z], axis=-1) - camera.center
    by_camera = projection_slopes(x, y, z, camera.focal)
    by_point = by_camera @ poses.rotations[:, None]
    jacobian = np.concatenate([-by_camera @ skew(turned), by_camera, by_point @ slopes], axis=-1)
    return Linearized(residual, jacobian, by_point)


def projection_slopes(x: np.ndarray, y: np.ndarray, z: np.ndarray, focal: float) -> np.ndarray:
    """Derivatives of pixels by camera points. [..., 2, 3]"""
    scale, zero = focal / z, np.zeros_like(z)
    rows = [(scale, zero, -scale * x / z), (zero, scale, -scale * y / z)]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def landmark_trust(observed: np.ndarray, points: HeadPoints, poses: Poses) -> np.ndarray:
    """What each landmark counts, before its residual is known. [F, P]"""
    view = poses.translations / np.linalg.norm(poses.translations, axis=1, keepdims=True)
    normals = points.normals @ poses.rotations.transpose(0, 2, 1)
    facing = -np.einsum("fpc,fc->fp", normals, view)
    trust = region_weights() * np.clip(facing / _FACING, _HIDDEN, 1)
    for iris, (upper, lower), (outer, inner) in zip(IRISES, MIDDLE_OF_LIDS, _CORNERS, strict=True):
        apart = np.linalg.norm(observed[:, upper] - observed[:, lower], axis=1)
        width = np.linalg.norm(observed[:, outer] - observed[:, inner], axis=1)
        openness = apart / np.maximum(width, 1e-6)
        trust[:, iris] *= np.clip((openness - _SHUT) / _OPENING, _HIDDEN, 1)[:, None]
    return trust


def region_weights() -> np.ndarray:  # [478]
    """How many independent observations a landmark is worth."""
    weights = np.full(NUM_LANDMARKS, _ANY)
    weights[OUTLINE] = _RIM
    weights[[*LEFT_BROW, *RIGHT_BROW]] = _BROW
    weights[[*UPPER_LIP, *LOWER_LIP]] = _LIP
    weights[[*LEFT_EYE, *RIGHT_EYE, *UPPER_LIDS, *LOWER_LIDS, *IRISES[0], *IRISES[1]]] = _LID
    return weights


def landmark_weights(residual: np.ndarray, trust: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Inverse variances of residuals [F, P, 2] with noise `sigmas` [P] pixels, by Cauchy's weights."""
    return trust / (1 + (residual**2).sum(axis=-1) / (_ROBUST * sigmas) ** 2) / sigmas**2


def gap_weights(residual: np.ndarray, trust: np.ndarray, sigmas: np.ndarray) -> np.ndarray:  # [F, G]
    """Inverse variances of residuals [F, G, 2] over `GAPS`, by what their landmarks count."""
    upper, lower = GAPS.T
    seen = np.minimum(trust[:, upper], trust[:, lower])
    return landmark_weights(residual, seen, _GAP_NOISE * np.minimum(sigmas[upper], sigmas[lower]))


def landmark_sigmas(residual: np.ndarray, trust: np.ndarray, noise: float) -> np.ndarray:  # [P]
    """Each landmark's noise: what it is seen to be off by, and `noise` pixels that every one may be."""
    lengths = np.where(trust > trust.max(axis=0) / 3, np.linalg.norm(residual, axis=-1), np.nan)
    # 1.1774 is the median length of a standard normal vector of the plane.
    return np.hypot(np.nanmedian(lengths, axis=0) / 1.1774, noise)
