"""Rigid motions of points, in float64, batched: rotation vectors, projection, alignment.

Row convention: points are [..., P, 3]; a pose (R, t) takes them to points @ R^T + t.
"""

from typing import NamedTuple

import numpy as np

from utils.so3 import exp_so3


class Poses(NamedTuple):
    """Head-to-camera motions of F frames, OpenCV axes, head units."""

    rotations: np.ndarray  # [F, 3, 3]
    translations: np.ndarray  # [F, 3]

    def apply(self, points: np.ndarray) -> np.ndarray:  # [P, 3] or [F, P, 3] -> [F, P, 3]
        """Take points of the head to the camera of every frame."""
        return points @ self.rotations.transpose(0, 2, 1) + self.translations[:, None]

    def select(self, rows: np.ndarray | slice) -> "Poses":
        return Poses(self.rotations[rows], self.translations[rows])

    def moved(self, rotation_vectors: np.ndarray, shifts: np.ndarray) -> "Poses":
        """Turn the head by rotation vectors [F, 3] along the camera's axes, and shift it by [F, 3]."""
        return Poses(exp_so3(rotation_vectors) @ self.rotations, self.translations + shifts)


def log_so3(rotations: np.ndarray) -> np.ndarray:  # [..., 3, 3] -> [..., 3]
    """Invert `exp_so3` for angles below pi."""
    cosine = np.clip((np.trace(rotations, axis1=-2, axis2=-1) - 1) / 2, -1, 1)
    angle = np.arccos(cosine)[..., None]
    difference = rotations - np.swapaxes(rotations, -1, -2)
    axis = np.stack([difference[..., 2, 1], difference[..., 0, 2], difference[..., 1, 0]], axis=-1) / 2
    return axis / np.sinc(angle / np.pi)


def project(points: np.ndarray, focal: float, center: np.ndarray) -> np.ndarray:
    """Project camera points [..., 3] to pixels [..., 2]."""
    return focal * points[..., :2] / points[..., 2:] + center


def mean_rotation(rotations: np.ndarray) -> np.ndarray:  # [F, 3, 3] -> [3, 3]
    """The rotation nearest to the mean matrix."""
    return nearest_rotation(rotations.mean(axis=0))


def nearest_rotation(matrices: np.ndarray) -> np.ndarray:  # [..., 3, 3]
    """Kabsch 1976: the rotation R that maximises trace(R^T M)."""
    u, _, vt = np.linalg.svd(matrices)
    flip = np.sign(np.linalg.det(u @ vt))
    u[..., -1] *= flip[..., None]
    return u @ vt


class Similarity(NamedTuple):
    """Takes points to scale x R p + t; batched."""

    scale: np.ndarray  # [...]
    rotation: np.ndarray  # [..., 3, 3]
    translation: np.ndarray  # [..., 3]

    def apply(self, points: np.ndarray) -> np.ndarray:  # [..., P, 3]
        turned = points @ np.swapaxes(self.rotation, -1, -2)
        return np.asarray(self.scale)[..., None, None] * turned + self.translation[..., None, :]


def align(source: np.ndarray, target: np.ndarray) -> Similarity:
    """Least-squares similarity from `source` to `target` [..., P, 3], which broadcast (Umeyama 1991)."""
    source_mean, target_mean = source.mean(-2), target.mean(-2)
    centered, wanted = source - source_mean[..., None, :], target - target_mean[..., None, :]
    covariance = np.swapaxes(wanted, -1, -2) @ centered
    rotation = nearest_rotation(covariance)
    scale = (rotation * covariance).sum((-2, -1)) / (centered**2).sum((-2, -1))
    moved = scale[..., None] * (rotation @ source_mean[..., None])[..., 0]
    return Similarity(scale, rotation, target_mean - moved)
