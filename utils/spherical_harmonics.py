"""Real spherical harmonics up to degree 3, in the convention of the 3DGS family.

Bases run over degree l = 0, 1, 2, 3 and, within a degree, order m = -l ... l; they are orthonormal on the
sphere and keep the Condon-Shortley sign (-1)^m, so that degree 1 reads (-y, z, -x). A colour is
max(0, sum of coefficient x basis + 0.5). Polynomials: Sloan 2008, "Stupid Spherical Harmonics Tricks", A2.
"""

import math

import torch
from torch import Tensor

MAX_DEGREE = 3

_C0 = math.sqrt(1 / (4 * math.pi))
_C1 = math.sqrt(3 / (4 * math.pi))
_C2_PAIR = math.sqrt(15 / (4 * math.pi))
_C2_ZERO = math.sqrt(5 / (16 * math.pi))
_C2_SQUARE = math.sqrt(15 / (16 * math.pi))
_C3_OUTER = math.sqrt(35 / (32 * math.pi))
_C3_XYZ = math.sqrt(105 / (4 * math.pi))
_C3_INNER = math.sqrt(21 / (32 * math.pi))
_C3_ZERO = math.sqrt(7 / (16 * math.pi))
_C3_SQUARE = math.sqrt(105 / (16 * math.pi))


def num_bases(degree: int) -> int:
    """Count the bases of all degrees up to `degree`: 1, 4, 9, 16."""
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"degree: expected 0 to {MAX_DEGREE}, got {degree}")
    return (degree + 1) ** 2


def degree_of(bases: int) -> int:
    """Invert `num_bases`: 1, 4, 9, 16 bases are degree 0, 1, 2, 3."""
    degree = math.isqrt(max(bases, 0)) - 1
    if not 0 <= degree <= MAX_DEGREE or (degree + 1) ** 2 != bases:
        raise ValueError(f"number of SH bases: expected 1, 4, 9 or 16, got {bases}")
    return degree


def sh_bases(directions: Tensor, degree: int) -> Tensor:
    """Evaluate the bases at unit `directions` [..., 3]; returns [..., (degree + 1)^2]."""
    if directions.shape[-1:] != (3,):
        raise ValueError(f"directions: expected shape [..., 3], got {list(directions.shape)}")
    x, y, z = directions.unbind(-1)
    bases = [torch.full_like(x, _C0)]
    if degree >= 1:
        bases += [-_C1 * y, _C1 * z, -_C1 * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        bases += [
            _C2_PAIR * x * y,
            -_C2_PAIR * y * z,
            _C2_ZERO * (2 * zz - xx - yy),
            -_C2_PAIR * x * z,
            _C2_SQUARE * (xx - yy),
        ]
    if degree >= 3:
        bases += [
            -_C3_OUTER * y * (3 * xx - yy),
            _C3_XYZ * x * y * z,
            -_C3_INNER * y * (4 * zz - xx - yy),
            _C3_ZERO * z * (2 * zz - 3 * xx - 3 * yy),
            -_C3_INNER * x * (4 * zz - xx - yy),
            _C3_SQUARE * z * (xx - yy),
            -_C3_OUTER * x * (xx - 3 * yy),
        ]
    assert len(bases) == num_bases(degree)
    return torch.stack(bases, dim=-1)


def eval_sh(coefficients: Tensor, directions: Tensor) -> Tensor:
    """Evaluate coefficients [N, S, 3] at unit directions [N, 3] (from the camera); returns [N, 3].

    The degree is that of S. The sum is returned as it is; `sh_to_rgb` turns it into a colour.
    """
    if coefficients.dim() != 3 or coefficients.shape[-1] != 3:
        raise ValueError(f"coefficients: expected shape [N, S, 3], got {list(coefficients.shape)}")
    bases = sh_bases(directions, degree_of(coefficients.shape[1]))  # [N, S]
    return (bases[..., None] * coefficients).sum(dim=1)  # [N, 3]


def sh_to_rgb(coefficients: Tensor, directions: Tensor) -> Tensor:
    """Turn coefficients [N, S, 3] seen along unit directions [N, 3] into colours [N, 3], not below 0."""
    return (eval_sh(coefficients, directions) + 0.5).clamp_min(0)


def rgb_to_dc(rgb: Tensor) -> Tensor:
    """Give the degree-0 coefficient that shows `rgb` from everywhere; any shape."""
    return (rgb - 0.5) / _C0


def dc_to_rgb(dc: Tensor) -> Tensor:
    """Invert `rgb_to_dc`."""
    return dc * _C0 + 0.5
