"""Rotation vectors in numpy, float64, batched."""

import numpy as np


def exp_so3(vectors: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 3, 3]
    """Rodrigues' formula; exact to rounding for small angles too."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    sine = np.sinc(angle / np.pi)
    # (1 - cos a) / a^2
    versine = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    cross = skew(vectors)
    return np.eye(3) + sine * cross + versine * (cross @ cross)


def skew(vectors: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 3, 3]
    """The matrix whose product with a vector is the cross product."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    rows = [(zero, -z, y), (z, zero, -x), (-y, x, zero)]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
