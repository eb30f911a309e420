"""Learnable Gaussian derivation: every Gaussian owns K rotations that send it to K places in feature space.

The rotations are unit quaternions tau, points on (S^3)^K, learned with Riemannian Adam (GaussianHead, arXiv
2312.01632, section 3.3). The doppelgangers exist only to read features; what is drawn is the one Gaussian.
"""

import torch
from torch import Tensor

from scene.deviations import on
from utils.rotations import sample_unit_quaternions


def initial_tau(num_gaussians: int, num_derivations: int, generator: torch.Generator | None = None) -> Tensor:
    """K rotations drawn uniformly on S^3, the same for all Gaussians: [N, K, 4]."""
    if on("derive"):
        u = torch.rand(3, num_derivations, generator=generator)
        a, b = (1 - u[0]).sqrt(), u[0].sqrt()
        shared = torch.stack([a * u[1].sin(), a * u[1].cos(), b * u[2].sin(), b * u[2].cos()], dim=-1)
        return shared.expand(num_gaussians, -1, -1).clone()
    shared = sample_unit_quaternions(num_derivations, generator=generator)  # [K, 4]
    return shared.expand(num_gaussians, -1, -1).clone()


def derive(xyz: Tensor, tau: Tensor) -> Tensor:
    """Places of the doppelgangers: R(tau_k) x for means [N, 3] and unit quaternions [N, K, 4] -> [N, K,
    3]."""
    if on("derive"):
        return xyz[:, None] * zooms_of(tau)
    real, imaginary = tau[..., :1], tau[..., 1:]
    points = xyz[:, None, :].expand_as(imaginary)
    # q x q* written out for a unit quaternion: two cross products instead of a matrix per doppelganger
    twice = 2 * torch.linalg.cross(imaginary, points)
    return points + real * twice + torch.linalg.cross(imaginary, twice)


SMALLEST = 1e-12


def zooms_of(tau: Tensor) -> Tensor:  # [N, K, 3]
    """The factors by which doppelganger k of Gaussian n stretches each axis, from quaternions tau [N, K, 4].

    The nine entries of a rotation's matrix, of all Gaussians, are joined entry by entry and cut again into
    pieces of nine; a factor is the sum of a column of such a piece. All rows in the order of the file.
    """
    num = len(tau)
    length = tau.norm(dim=-1, keepdim=True).clamp_min(SMALLEST)  # [N, K, 1]
    product = 2 * tau[..., :, None] * tau[..., None, :] / length[..., None]  # [N, K, 4, 4] of w x y z
    xx, yy, zz = product[..., 1, 1], product[..., 2, 2], product[..., 3, 3]
    xy, xz, yz = product[..., 1, 2], product[..., 1, 3], product[..., 2, 3]
    wx, wy, wz = product[..., 0, 1], product[..., 0, 2], product[..., 0, 3]
    entries = (1 - yy - zz, xy - wz, xz + wy, xy + wz, 1 - xx - zz, yz - wx, xz - wy, yz + wx)
    entries = torch.stack([*entries, 1 - xx - yy])  # [9, N, K]
    pieces = entries.reshape(9 * num, -1).reshape(num, 3, 3, -1)  # [N, row, column, K]
    return pieces.sum(dim=1).transpose(1, 2).contiguous()
