"""The CUDA kernels run by the host's compiler against the reference: no GPU needed, no speed either."""

import pytest
import torch

from diff_gaussian_rasterization import Splats, cuda
from diff_gaussian_rasterization.cuda import device, ssim
from tests.rasterizer.host_kernels import needs_cxx
from tests.rasterizer.scenes import (
    Scene,
    assert_equals_reference,
    camera,
    draw,
    leaves_of,
    on_device,
    random_loss,
    relative_error,
    scenes,
    splats,
)
from utils import metrics

pytestmark = needs_cxx
SCENES = scenes()


def check(scene: Scene) -> None:
    """Compare with the reference, in the kernels' own depth order."""
    scene = on_device(scene, "cpu")
    assert_equals_reference(cuda.rasterize, scene, cuda.draw_order(scene.splats, scene.view))


@pytest.mark.parametrize(
    "name",
    [
        *("degree 3", "many", "needles", "huge", "opaque stack", "off-centre", "part behind the camera"),
        *("one pixel", "cov3d and colors", "antialiased inverse depth"),
    ],
)
def test_kernels_equal_the_reference(host_device, name):
    check(SCENES[name]())


@pytest.mark.parametrize("num", [1, 33, 700])
def test_any_number_of_gaussians(host_device, num):
    check(Scene(splats(num, size=0.3), camera(40, 30), torch.rand(3).double()))


def test_overflowing_lists_are_drawn_all_the_same_and_grow(host_device, monkeypatch):
    monkeypatch.setattr(device.Device, "capacity", lambda *_: 256)
    scene = Scene(splats(900, size=0.3), camera(20, 18), torch.rand(3).double())
    monkeypatch.setattr(host_device, "_least_capacity", 256)
    drawn = on_device(scene, "cpu")
    cuda.rasterize(drawn.splats, drawn.view, drawn.background)
    assert host_device.wants_longer_lists
    check(scene)
    assert not host_device.wants_longer_lists and host_device.least_capacity() > 900


def test_views_of_one_call_equal_single_views(host_device):
    scene = on_device(SCENES["degree 3"](), "cpu")
    cameras = scene.view.world_to_camera.repeat(2, 1, 1)
    cameras[1, :3, 3] += torch.tensor([0.1, -0.05, 0.2])
    views = scene.view._replace(
        world_to_camera=cameras, intrinsics=scene.view.intrinsics.expand(2, 4).contiguous()
    )
    leaves = leaves_of(scene, torch.float32)
    leaves["means2d"] = torch.zeros(2, len(scene.splats.means), 2, requires_grad=True)
    drawn = Splats(**{name: leaves.get(name) for name in Splats._fields})
    both = cuda.rasterize(drawn, views, leaves["background"], leaves["means2d"])
    names = ["means", "opacities", "scales", "rotations", "sh", "background"]
    gradients = torch.autograd.grad(random_loss(both), [leaves[name] for name in names])
    singles = []
    for k in range(2):
        single = cuda.rasterize(
            drawn, scene.view._replace(world_to_camera=cameras[k]), leaves["background"], None
        )
        singles.append(single)
        assert torch.equal(single.image, both.image[k]) and torch.equal(single.radii, both.radii[k])
    stacked = type(both)(*map(torch.stack, zip(*singles)))
    expected = torch.autograd.grad(random_loss(stacked), [leaves[name] for name in names])
    for name, gradient, other in zip(names, gradients, expected):
        assert relative_error(gradient, other) < 1e-5, name


def test_a_second_backward_pass_gives_the_same(host_device):
    """Rows of sums are left clear for it."""
    scene = on_device(SCENES["many"](), "cpu")
    leaves = leaves_of(scene, torch.float32)
    loss = random_loss(draw(cuda.rasterize, scene, leaves))
    first, second = (torch.autograd.grad(loss, list(leaves.values()), retain_graph=True) for _ in range(2))
    for name, a, b in zip(leaves, first, second):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("shape", [(3, 20, 37), (2, 1, 5, 33)])
def test_ssim_equals_the_operations(host_device, shape):
    generator = torch.Generator().manual_seed(0)
    image, truth = (torch.rand(shape, generator=generator).requires_grad_() for _ in range(2))
    value, expected = ssim._Ssim.apply(image, truth), metrics.ssim(image, truth)
    assert torch.allclose(value, expected, atol=1e-6)
    weights = torch.rand(value.shape, generator=generator)
    found = torch.autograd.grad((value * weights).sum(), (image, truth))
    wanted = torch.autograd.grad((expected * weights).sum(), (image, truth))
    for a, b in zip(found, wanted):
        assert relative_error(a, b) < 1e-4
