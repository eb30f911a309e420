"""Small heads for tests."""

import torch

from arguments import OptimizationParams
from scene.densification import Densifier
from scene.gaussian_model import GaussianModel, Seated
from scene.head_model import Architecture, GaussianHead
from scene.optimization import HeadOptimizer, schedules
from scene.scaffold import Places, Scaffold, ScaffoldMesh

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
    if not architecture.scaffold:
        gaussians = GaussianModel.in_cube(num_gaussians, HALF_SIDE, architecture, generator)
        return GaussianHead(architecture, gaussians, generator)
    scaffold = make_scaffold(generator)
    triangle = torch.randint(len(scaffold.triangles), (num_gaussians,), generator=generator)
    barycentric = torch.rand(num_gaussians, 3, generator=generator)
    places = Places(triangle, barycentric / barycentric.sum(dim=1, keepdim=True))
    corners = scaffold.neutral[scaffold.triangles[triangle]]
    seated = Seated(
        places,
        torch.full((num_gaussians, 3), -3.0),
        torch.randn(num_gaussians, 4, generator=generator),
        torch.full((num_gaussians,), 2.0),
    )
    xyz = (places.barycentric[..., None] * corners).sum(dim=1)
    gaussians = GaussianModel.from_points(xyz, architecture, generator, seated)
    head = GaussianHead(architecture, gaussians, generator, scaffold)
    head.known_signals[0], head.known_signals[1] = -2, 2
    return head


def make_scaffold(generator: torch.Generator) -> Scaffold:
    """A bumpy sheet of 5 x 5 vertices that moves, and an octahedron that turns, in the cube."""
    side = torch.linspace(-0.7, 0.7, 5)
    x, y = torch.meshgrid(side, side, indexing="xy")
    sheet = torch.stack([x, y, 0.3 * torch.rand(5, 5, generator=generator)], dim=2).view(-1, 3)
    corner = torch.arange(25).view(5, 5)
    square = [corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]]
    triangles = [torch.stack([square[i] for i in ids], dim=2).view(-1, 3) for ids in ((0, 1, 2), (0, 2, 3))]
    ball = 0.2 * torch.cat([torch.eye(3), -torch.eye(3)])
    octahedron = torch.tensor([[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2]]) + 25
    faces = torch.cat([*triangles, octahedron])
    num, size = 31, EXPRESSION_SIZE
    shapes = 0.1 * torch.randn(size, num, 3, generator=generator)
    shapes[:, 25:] = 0
    return Scaffold(
        ScaffoldMesh(
            neutral=torch.cat([sheet, ball + torch.tensor([0.1, 0.2, -0.3])]),
            shapes=shapes,
            triangles=faces.int(),
            limits=torch.tensor([0.05, 0.01, 0.02]).repeat(len(faces), 1),
            is_of_head=torch.arange(len(faces)) % 2 == 0,
            seen=0.5 + 0.5 * torch.rand(len(faces), generator=generator),
            color=torch.randn(num, 3, generator=generator),
            ball_ranges=torch.tensor([[25, 31]]),
            ball_centers=torch.tensor([[0.1, 0.2, -0.3]]),
            ball_turns=0.5 * torch.randn(1, 3, size, generator=generator),
        )
    )


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
