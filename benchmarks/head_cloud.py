"""The scene of the rasterizer's benchmarks: Gaussians like a head's skin, and a view of them."""

import math

import torch

from diff_gaussian_rasterization import Splats, View


def head_cloud(num: int, generator: torch.Generator) -> Splats:
    """Make an ellipsoid shell of `num` anisotropic Gaussians, dense like a head's skin; SH degree 3."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    direction = torch.nn.functional.normalize(normal(num, 3), dim=1)
    spacing = math.sqrt(4 * math.pi * 0.25 * 0.8 / num)
    return Splats(
        means=direction * (0.5 + 0.02 * normal(num, 1)) * torch.tensor([0.75, 1.0, 0.85]),
        opacities=torch.sigmoid(1.0 + 1.5 * normal(num, 1)),
        scales=0.9 * spacing * torch.exp(0.35 * normal(num, 3)),
        rotations=torch.nn.functional.normalize(normal(num, 4), dim=1),
        sh=0.3 * normal(num, 16, 3) / torch.arange(1, 17).view(1, 16, 1),
    )


def head_view(size: int) -> View:
    """Look at the cloud from the front, so that it fills most of an image [size, size]."""
    world_to_camera = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    world_to_camera[2, 3] = 2.4
    focal = 1.8 * size
    return View(world_to_camera, torch.tensor([focal, focal, size / 2, size / 2]), size, size)
