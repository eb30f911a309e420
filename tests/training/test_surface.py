import torch

from diff_gaussian_rasterization import Splats
from gaussian_renderer import render
from scene.cameras import Camera
from training.surface import MARGIN, surface_loss

POSE = torch.diag(torch.tensor([1.0, -1, -1, 1]))
POSE[2, 3] = 3.0
CAMERA = Camera(POSE, 150.0, 150.0, 32.0, 32.0, 64, 64)


def wall(offset: float, hidden: float = 0.0) -> Splats:
    """A dense wall of Gaussians at z = 0, and one of no opacity in its middle at z = `offset`."""
    y, x = torch.meshgrid(torch.linspace(-0.8, 0.8, 33), torch.linspace(-0.8, 0.8, 33), indexing="ij")
    means = torch.stack([x, y, torch.zeros_like(x)], dim=2).reshape(-1, 3)
    means = torch.cat([means, torch.tensor([[0.01, 0.01, offset]])]).requires_grad_()
    num = len(means)
    opacities = torch.full((num,), 0.95)
    opacities[-1] = hidden
    rotations = torch.tensor([1.0, 0, 0, 0]).expand(num, 4)
    colors = torch.full((num, 3), 0.5)
    return Splats(means, opacities, torch.full((num, 3), 0.03), rotations, None, colors)


def loss_of(splats: Splats):
    return surface_loss(CAMERA, splats, render(CAMERA, splats, torch.zeros(3)))


def test_a_wall_costs_nothing():
    assert loss_of(wall(0.9 * MARGIN)) == 0


def test_a_gaussian_off_the_wall_costs_its_distance_and_is_pulled_back():
    for offset in (0.2, -0.2):
        splats = wall(offset)
        loss = loss_of(splats)
        torch.testing.assert_close(loss * len(splats.means), torch.tensor(0.2 - MARGIN), atol=2e-3, rtol=0)
        (gradient,) = torch.autograd.grad(loss, splats.means)
        torch.testing.assert_close(gradient[-1] * len(gradient), POSE[2, :3] * (-1 if offset > 0 else 1))
        assert (gradient[:-1] == 0).all()


def test_what_is_beside_the_surface_or_behind_the_camera_counts_as_on_it():
    for place in ([5.0, 0.0, 0.3], [0.0, 0.0, 4.0]):
        splats = wall(0.0)
        means = splats.means.detach().clone()
        means[-1] = torch.tensor(place)
        assert loss_of(splats._replace(means=means)) == 0
