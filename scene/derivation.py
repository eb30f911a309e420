"""Learnable Gaussian derivation: every Gaussian owns K rotations that send it to K places in feature space.

The rotations are unit quaternions tau, points on (S^3)^K, learned with Riemannian Adam (GaussianHead, arXiv
2312.01632, section 3.3). The doppelgangers exist only to read features; what is drawn is the one Gaussian.
"""

import torch
from torch import Tensor

from utils.rotations import sample_unit_quaternions


def initial_tau(num_gaussians: int, num_derivations: int, generator: torch.Generator | None = None) -> Tensor:
    """K rotations drawn uniformly on S^3, the same for all Gaussians: [N, K, 4]."""
    shared = sample_unit_quaternions(num_derivations, generator=generator)  # [K, 4]
    return shared.expand(num_gaussians, -1, -1).clone()


def derive(xyz: Tensor, tau: Tensor) -> Tensor:
    """Places of the doppelgangers: R(tau_k) x for means [N, 3] and unit quaternions [N, K, 4] -> [N, K,
    3]."""
    real, imaginary = tau[..., :1], tau[..., 1:]
    points = xyz[:, None, :].expand_as(imaginary)
    # q x q* written out for a unit quaternion: two cross products instead of a matrix per doppelganger
    twice = 2 * torch.linalg.cross(imaginary, points)
    return points + real * twice + torch.linalg.cross(imaginary, twice)
