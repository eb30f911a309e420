"""Small heads for tests."""

import torch

from arguments import OptimizationParams
from scene.densification import Densifier
from scene.gaussian_model import GaussianModel
from scene.head_model import Architecture, GaussianHead
from scene.optimization import HeadOptimizer, schedules

EXPRESSION_SIZE = 5
HALF_SIDE = 0.5


def make_head(num_gaussians: int = 40, sh_degree: int = 1, seed: int = 0, **changes) -> GaussianHead:
    """A head with small networks and every part; `changes` are fields of its Architecture."""
    torch.manual_seed(seed)
    sizes = dict(
        expression_size=EXPRESSION_SIZE,
        half_side=HALF_SIDE,
        deformation_depth=2,
        deformation_width=16,
        triplane_resolution=8,
        triplane_channels=8,
        decoder_width=16,
        geometry_features=8,
        num_blendshapes=2,
        torso_membership=True,
    )
    architecture = Architecture(**{**sizes, "sh_degree": sh_degree, **changes})
    generator = torch.Generator().manual_seed(seed)
    gaussians = GaussianModel.in_cube(num_gaussians, HALF_SIDE, architecture, generator)
    return GaussianHead(architecture, gaussians, generator)


def make_optimizer(head: GaussianHead, **params) -> HeadOptimizer:
    return HeadOptimizer(head, schedules(OptimizationParams(**params)))


def make_densifier(optimizer: HeadOptimizer, **params) -> Densifier:
    return Densifier(optimizer, OptimizationParams(**params), HALF_SIDE, torch.Generator().manual_seed(0))


def step_on_random_loss(head: GaussianHead, optimizer: HeadOptimizer, seed: int) -> None:
    """One optimizer step on a loss that reaches every parameter, tau included."""
    generator = torch.Generator().manual_seed(seed)
    loss = sum((p * torch.randn(p.shape, generator=generator)).sum() for p in head.parameters())
    loss.backward()
    optimizer.step()
