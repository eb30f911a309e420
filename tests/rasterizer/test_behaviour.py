"""Behaviour at the edges that every back-end shares, and the checks at the front door."""

import pytest
import torch

from diff_gaussian_rasterization import Splats, View
from tests.rasterizer.scenes import Scene, camera, rasterize_on, render_with_gradients, scenes, splats

BACKENDS = ["reference", "cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
both = pytest.mark.parametrize("backend", BACKENDS)


def rasterize(drawn, view, background=None, *, means2d=None, backend=None):
    return rasterize_on("cuda" if backend == "cuda" else "cpu", drawn, view, background, means2d, backend)


def rows(drawn: Splats, index) -> Splats:
    return Splats(*(None if t is None else t[index] for t in drawn))


@both
@pytest.mark.parametrize("num", [0, 7])
def test_nothing_to_draw_gives_the_background_and_zero_gradients(backend, num):
    behind = splats(num)._replace(means=torch.randn(num, 3).double() - torch.tensor([0.0, 0.0, 9.0]))
    scene = Scene(behind, camera(), torch.tensor([0.1, 0.2, 0.3]).double())
    result, gradients = render_with_gradients(rasterize, scene, backend=backend)
    torch.testing.assert_close(
        result.image, scene.background[:, None, None].expand(3, 34, 45), atol=1e-7, rtol=0
    )
    assert not result.depth.any() and not result.alpha.any() and not result.radii.any()
    assert result.radii.shape == (num,)
    assert gradients.pop("background").all()
    assert not any(g.any() for g in gradients.values())


@both
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("field", ["means", "scales", "rotations", "opacities", "sh"])
def test_bad_gaussian_is_dropped_and_the_rest_is_right(backend, field, bad):
    scene = scenes()["degree 3"]()
    broken = getattr(scene.splats, field).clone()
    broken[5].view(-1)[-1] = bad
    result, gradients = render_with_gradients(
        rasterize, scene._replace(splats=scene.splats._replace(**{field: broken})), backend=backend
    )
    others = torch.arange(60) != 5
    truth, true_gradients = render_with_gradients(
        rasterize, scene._replace(splats=rows(scene.splats, others)), backend=backend
    )
    assert result.radii[5] == 0 and torch.equal(result.radii[others], truth.radii)
    torch.testing.assert_close(result[:3], truth[:3])
    for name, gradient in gradients.items():
        if gradient.shape[0] == 60:
            assert not gradient[5].any(), name
            gradient = gradient[others]
        # the camera's gradient is a sum in another grouping
        torch.testing.assert_close(gradient, true_gradients[name], atol=1e-4, rtol=1e-5)


@both
def test_crop_is_a_view_with_a_moved_principal_point(backend):
    scene = scenes()["degree 3"]()
    left, top, width, height = 7, 3, 21, 18
    intrinsics = scene.view.intrinsics - torch.tensor([0, 0, left, top])
    view = scene.view._replace(intrinsics=intrinsics, width=width, height=height)
    # Only Gaussians inside the crop's frustum margin: outside, the Jacobian is clamped, which is the crop's
    # own.
    x, y, z = (scene.splats.means @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]).unbind(1)
    u, v = intrinsics[0] * x / z + intrinsics[2], intrinsics[1] * y / z + intrinsics[3]
    inside = (u > -0.15 * width) & (u < 1.15 * width) & (v > -0.15 * height) & (v < 1.15 * height)
    assert 10 < inside.sum() < 60
    drawn = rows(scene.splats, inside)
    whole = rasterize(drawn, scene.view, scene.background, backend=backend)
    crop = rasterize(drawn, view, scene.background, backend=backend)
    window = (..., slice(top, top + height), slice(left, left + width))
    for part, full in zip(crop[:3], whole[:3]):
        torch.testing.assert_close(part, full[window], atol=1e-6, rtol=1e-6)


@both
def test_order_of_the_gaussians_does_not_matter(backend):
    scene = scenes()["degree 3"]()
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    truth = rasterize(*scene, backend=backend)
    result = rasterize(rows(scene.splats, shuffled), *scene[1:], backend=backend)
    torch.testing.assert_close(result[:3], truth[:3])
    assert torch.equal(result.radii, truth.radii[shuffled])


@both
def test_inputs_are_left_alone(backend):
    scene = scenes()["degree 3"]()
    copies = [t.clone() for t in scene.splats if t is not None]
    render_with_gradients(rasterize, scene, torch.float32, backend=backend)
    assert all(torch.equal(a, b) for a, b in zip(copies, (t for t in scene.splats if t is not None)))


GOOD = Scene(splats(4), camera(), torch.zeros(3).double())


def changed(**fields) -> tuple:
    """The good input with some fields of splats, view or the rest replaced."""
    drawn = GOOD.splats._replace(**{k: v for k, v in fields.items() if k in Splats._fields})
    view = GOOD.view._replace(**{k: v for k, v in fields.items() if k in View._fields})
    return drawn, view, fields.get("background"), fields.get("means2d"), fields.get("backend")


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (dict(means=torch.zeros(4, 2)), ValueError, r"splats\.means: expected shape \[4, 3\], got \[4, 2\]"),
        (
            dict(means=torch.zeros(4, 3, dtype=torch.int64)),
            TypeError,
            r"splats\.means: expected a floating-point",
        ),
        (dict(means=None), TypeError, r"splats\.means"),
        (dict(opacities=torch.zeros(3)), ValueError, r"splats\.opacities"),
        (dict(opacities=torch.zeros(4, 2)), ValueError, r"splats\.opacities"),
        (dict(scales=torch.zeros(4)), ValueError, r"splats\.scales"),
        (dict(scales=None), ValueError, r"splats\.scales, splats\.cov3d: .* neither"),
        (dict(cov3d=torch.zeros(4, 6)), ValueError, r"splats\.scales, splats\.cov3d: .* both"),
        (dict(rotations=None), ValueError, r"splats\.rotations"),
        (dict(rotations=torch.zeros(4, 3)), ValueError, r"splats\.rotations"),
        (dict(sh=torch.zeros(4, 5, 3)), ValueError, r"splats\.sh"),
        (dict(sh=torch.zeros(3, 4, 3)), ValueError, r"splats\.sh"),
        (dict(colors=torch.zeros(4, 3)), ValueError, r"splats\.sh, splats\.colors: .* both"),
        (dict(sh=[1.0]), ValueError, r"splats\.sh"),
        (dict(world_to_camera=torch.eye(3)), ValueError, r"view\.world_to_camera"),
        (dict(world_to_camera=torch.full((4, 4), torch.nan)), ValueError, r"view\.world_to_camera: has NaN"),
        (dict(intrinsics=torch.tensor([0.0, 1, 2, 3])), ValueError, r"view\.intrinsics"),
        (dict(width=0), ValueError, r"view\.width"),
        (dict(height=2.5), ValueError, r"view\.height"),
        (dict(near=0.0), ValueError, r"view\.near"),
        (dict(background=torch.zeros(4)), ValueError, r"background"),
        (dict(background=[0.0, 0, 0]), TypeError, r"background"),
        (dict(background=torch.zeros(3, device="meta")), ValueError, r"background: is on meta"),
        (dict(means2d=torch.zeros(4, 4)), ValueError, r"means2d"),
        (dict(backend="cuda?"), ValueError, r"backend: expected one of reference, cpu"),
    ],
)
def test_wrong_input_is_named(fields, error, message):
    drawn, view, background, means2d, backend = changed(**fields)
    with pytest.raises(error, match=message):
        rasterize(drawn, view, background, means2d=means2d, backend=backend)


def test_background_is_black_by_default():
    image = rasterize(splats(0), camera()).image
    assert not image.any()
