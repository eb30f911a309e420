"""The reference, which is the specification, against brute force, and its gradients against differences."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from diff_gaussian_rasterization import Splats, rasterize
from diff_gaussian_rasterization.reference import project, visibility
from tests.rasterizer import brute_force
from tests.rasterizer.scenes import (
    Scene,
    camera,
    draw,
    leaves_of,
    random_loss,
    render_with_gradients,
    scenes,
    splats,
)

TINY = [
    "degree 3",
    "degree 1",
    "cov3d and colors",
    "needles",
    "huge",
    "opaque stack",
    "off-centre",
    "one pixel",
    "part behind the camera",
    "antialiased",
    "antialiased needles",
    "antialiased inverse depth",
]


def reference(*args, **options):
    return rasterize(*args, backend="reference", **options)


def small(scene: Scene, num: int, width: int, height: int) -> Scene:
    """The first Gaussians of a scene, seen at a smaller size."""
    view = scene.view
    scale = torch.tensor([width / view.width, width / view.width, width / view.width, height / view.height])
    view = view._replace(intrinsics=view.intrinsics * scale, width=width, height=height)
    return scene._replace(splats=Splats(*(None if t is None else t[:num] for t in scene.splats)), view=view)


@pytest.mark.parametrize("name", TINY)
def test_reference_equals_brute_force(name):
    scene = small(scenes()[name](), 12, 13, 9) if name != "one pixel" else scenes()[name]()
    image, depth, alpha = brute_force.render(scene)
    result = reference(*scene)
    assert alpha.max() > 0.01
    # Both are float64; arccos in the oracle's harmonics is what costs digits.
    np.testing.assert_allclose(result.image.numpy(), image, atol=1e-7)
    np.testing.assert_allclose(result.depth.numpy(), depth, atol=1e-9)
    np.testing.assert_allclose(result.alpha.numpy(), alpha, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["degree 3", "colors", "cov3d", "antialiased cov3d", "antialiased inverse depth"]
)
def test_reference_gradients_equal_differences(name):
    # Large splats: no pixel is near the 1/255 cut, where the image is not continuous.
    scene = small(scenes()[name](), 3, 4, 3)
    if scene.splats.cov3d is None:
        larger = scene.splats.scales * (0.64 / scene.splats.scales.mean())
        scene = scene._replace(splats=scene.splats._replace(scales=larger))
    else:
        larger = scene.splats.cov3d * (0.6 / scene.splats.cov3d[:, 0].mean())
        scene = scene._replace(splats=scene.splats._replace(cov3d=larger))
    leaves = leaves_of(scene)
    means2d = leaves.pop("means2d").detach()

    def outputs(*values):
        return draw(reference, scene, dict(zip(leaves, values), means2d=means2d))[:3]

    assert all((output != 0).all() for output in outputs(*leaves.values()))
    assert gradcheck(outputs, tuple(leaves.values()), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_gaussian_outside_the_frustum_margin_has_consistent_gradients():
    view = camera(8, 6)
    one = splats(1, size=0.9)._replace(means=torch.tensor([[2.4, 0.1, 0.0]]).double())
    x, _, z = (view.world_to_camera[:3, :3] @ one.means[0] + view.world_to_camera[:3, 3]).tolist()
    assert x / z > 1.3 * view.width / (2 * view.intrinsics[0])

    def image(means, scales, rotations):
        return reference(one._replace(means=means, scales=scales, rotations=rotations), view).image

    leaves = [t.clone().requires_grad_() for t in (one.means, one.scales, one.rotations)]
    assert image(*leaves).max() > 0.01
    assert gradcheck(image, leaves, eps=1e-6, atol=1e-6, rtol=1e-5)


def test_means2d_gradient_is_in_ndc_units():
    # Moving the principal point by one pixel moves every screen mean by one pixel, 2 / size in NDC.
    scene = scenes()["degree 3"]()
    _, gradients = render_with_gradients(reference, scene)
    per_pixel = gradients["means2d"].sum(0) / torch.tensor([scene.view.width / 2, scene.view.height / 2, 1])
    torch.testing.assert_close(per_pixel[:2], gradients["intrinsics"][2:])
    assert not gradients["means2d"][:, 2].any()


def test_alpha_cap_and_end_of_pixel():
    # Three opaque Gaussians on one pixel: alpha is capped at 0.99, the third would take transmittance to
    # 1e-6.
    stack = Splats(
        means=torch.tensor([[0.0, 0, 1], [0, 0, 2], [0, 0, 3]]).double(),
        opacities=torch.ones(3, dtype=torch.float64),
        scales=torch.full((3, 3), 10.0, dtype=torch.float64),
        rotations=torch.tensor([[1.0, 0, 0, 0]] * 3).double(),
        colors=torch.eye(3, dtype=torch.float64),
    )
    view = camera(1, 1)._replace(world_to_camera=torch.eye(4, dtype=torch.float64))
    leaves = leaves_of(Scene(stack, view, torch.zeros(3)))
    result = draw(reference, Scene(stack, view, torch.zeros(3)), leaves)
    weights = [0.99, 0.01 * 0.99, 0.0]
    torch.testing.assert_close(result.image.flatten().tolist(), weights, atol=1e-12, rtol=0)
    torch.testing.assert_close(result.depth.item(), 0.99 + 2 * 0.01 * 0.99)
    torch.testing.assert_close(result.alpha.item(), 1 - 0.01**2)
    random_loss(result).backward()
    # Capped, capped, not blended.
    assert not leaves["opacities"].grad.any()
    assert leaves["colors"].grad[:2].any() and not leaves["colors"].grad[2].any()


def test_equal_depths_are_drawn_by_index():
    twins = Splats(
        *(None if t is None else t[:1].repeat(2, *[1] * (t.ndim - 1)) for t in splats(1, size=0.5))
    )
    twins = twins._replace(sh=None, colors=torch.eye(3)[:2].double())
    image = reference(twins, camera()).image
    assert (image[0] >= image[1]).all() and image[0].max() > 2 * image[1].max() > 0


def test_radii_are_three_sigma_of_the_drawn():
    scene = scenes()["part behind the camera"]()
    result = reference(*scene)
    projected = project(scene.splats, scene.view)
    xx, xy, yy = projected.cov.unbind(1)
    largest = torch.linalg.eigvalsh(torch.stack([xx, xy, xy, yy], 1).view(-1, 2, 2))[:, 1]
    drawn, _ = visibility(projected, scene.view)
    assert result.radii.dtype == torch.int32 and 0 < drawn.sum() < len(drawn)
    assert torch.equal(result.radii > 0, drawn)
    torch.testing.assert_close(result.radii[drawn].double(), torch.ceil(3 * largest[drawn].sqrt()))
    assert not drawn[projected.depths <= scene.view.near].any()


@pytest.mark.gpu
def test_torch_path_serves_cuda_tensors():
    scene = scenes()["many"]()
    truth, true_gradients = render_with_gradients(reference, scene)

    def on_cuda(drawn, view, background, means2d):
        drawn = Splats(*(None if t is None else t.cuda() for t in drawn))
        view = view._replace(world_to_camera=view.world_to_camera.cuda(), intrinsics=view.intrinsics.cuda())
        result = rasterize(drawn, view, background.cuda(), means2d=means2d.cuda(), backend="reference")
        assert result.image.is_cuda and result.image.dtype == torch.float32
        return type(result)(*(t.cpu() for t in result))

    result, gradients = render_with_gradients(on_cuda, scene, torch.float32)
    for output, true_output in zip(result[:3], truth[:3]):
        # float32: a few pixels fall on the other side of the 1/255 cut
        assert ((output - true_output).abs() > 1e-4).double().mean() < 1e-3
    for name, gradient in gradients.items():
        assert (gradient - true_gradients[name]).norm() < 1e-3 * true_gradients[name].norm(), name
