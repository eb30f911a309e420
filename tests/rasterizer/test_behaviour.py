"""Behaviour at the edges that every back-end shares, and the checks at the front door."""

import pytest
import torch

from diff_gaussian_rasterization import Rasterization, Splats, View, api
from tests.rasterizer.scenes import (
    Scene,
    camera,
    draw,
    leaves_of,
    random_loss,
    rasterize_on,
    relative_error,
    render_with_gradients,
    scenes,
    splats,
)

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


@both
@pytest.mark.parametrize("sets", ["shared", "per view", "mixed"])
def test_batch_equals_loop_over_its_views(backend, sets):
    scene, num_views = scenes()["degree 3"](), 3
    generator = torch.Generator().manual_seed(3)
    leaves = leaves_of(scene)
    # A column, as models hold them.
    leaves["opacities"] = leaves["opacities"][:, None]
    leaves["means2d"] = torch.zeros(num_views, 60, 3, dtype=torch.float64)
    for name in ("world_to_camera", "intrinsics", *Splats._fields):
        of_cameras = name in ("world_to_camera", "intrinsics")
        if name in leaves and (
            of_cameras or sets == "per view" or (sets == "mixed" and name in ("means", "sh"))
        ):
            spread = torch.rand(num_views, *leaves[name].shape, generator=generator, dtype=torch.float64)
            if name == "world_to_camera":
                # Only its translation.
                spread[..., :3], spread[:, 3] = 0, 0
            leaves[name] = leaves[name] + 0.1 * spread
    leaves = {name: t.detach().requires_grad_() for name, t in leaves.items()}

    def one_view(k: int) -> dict[str, torch.Tensor]:
        # Of one view.
        dimensions = {"opacities": 2, "sh": 3, "intrinsics": 1, "background": 1}
        return {name: t[k] if t.ndim > dimensions.get(name, 2) else t for name, t in leaves.items()}

    result = draw(rasterize, scene, leaves, backend=backend)
    loop = [draw(rasterize, scene, one_view(k), backend=backend) for k in range(num_views)]
    loop = Rasterization(*map(torch.stack, zip(*loop)))
    assert result.image.shape == (num_views, 3, 34, 45) and result.radii.shape == (num_views, 60)
    assert not torch.equal(result.image[0], result.image[1])
    assert all(torch.equal(a, b) for a, b in zip(result, loop))
    gradients = torch.autograd.grad(random_loss(result), list(leaves.values()))
    truth = torch.autograd.grad(random_loss(loop), list(leaves.values()))
    # The order of sums over the views; on the GPU also of those by atomics.
    tolerance = {"reference": 1e-12, "cpu": 1e-5, "cuda": 1e-4}[backend]
    for (name, leaf), gradient, true_gradient in zip(leaves.items(), gradients, truth):
        assert gradient.shape == leaf.shape and gradient.any(), name
        assert relative_error(gradient, true_gradient) < tolerance, name


@both
def test_batch_of_one_view_is_that_view(backend):
    scene = scenes()["cov3d and colors"]()
    view = scene.view._replace(
        world_to_camera=scene.view.world_to_camera[None], intrinsics=scene.view.intrinsics[None]
    )
    result = rasterize(scene.splats, view, scene.background, backend=backend)
    truth = rasterize(*scene, backend=backend)
    assert all(torch.equal(a, b[None]) for a, b in zip(result, truth))


GOOD = Scene(splats(4), camera(), torch.zeros(3).double())
TWO_VIEWS = dict(world_to_camera=torch.eye(4).repeat(2, 1, 1), intrinsics=torch.ones(2, 4))


def changed(**fields) -> tuple:
    """The good input with some fields of splats, view or the rest replaced."""
    drawn = GOOD.splats._replace(**{k: v for k, v in fields.items() if k in Splats._fields})
    view = GOOD.view._replace(**{k: v for k, v in fields.items() if k in View._fields})
    return drawn, view, fields.get("background"), fields.get("means2d"), fields.get("backend")


WRONG = [
    (dict(means=torch.zeros(4, 2)), ValueError, r"splats\.means: expected shape \[4, 3\], got \[4, 2\]"),
    (dict(means=torch.zeros(4, 3).long()), TypeError, r"splats\.means: expected a floating-point"),
    (dict(means=None), TypeError, r"splats\.means"),
    (dict(opacities=torch.zeros(3)), ValueError, r"splats\.opacities"),
    (dict(opacities=torch.zeros(4, 2)), ValueError, r"splats\.opacities"),
    (dict(opacities=torch.zeros(4).long()), TypeError, r"splats\.opacities: expected a floating-point"),
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
    (dict(width=0), ValueError, r"view\.width"),
    (dict(height=2.5), ValueError, r"view\.height"),
    (dict(near=0.0), ValueError, r"view\.near"),
    (dict(background=torch.zeros(4)), ValueError, r"background"),
    (dict(background=[0.0, 0, 0]), TypeError, r"background"),
    (dict(background=torch.zeros(3, device="meta")), ValueError, r"background: is on meta"),
    (dict(means2d=torch.zeros(4, 4)), ValueError, r"means2d"),
    (dict(means=torch.zeros(2, 4, 3)), ValueError, r"splats\.means: expected shape \[4, 3\]"),
    # Values of the right types and shapes.
    (dict(world_to_camera=torch.full((4, 4), torch.nan)), ValueError, r"view\.world_to_camera: has NaN"),
    (dict(intrinsics=torch.tensor([0.0, 1, 2, 3])), ValueError, r"view\.intrinsics"),
    (dict(backend="cuda?"), ValueError, r"backend: expected one of reference, cpu"),
]
WRONG_FOR_TWO_VIEWS = [
    (dict(intrinsics=torch.ones(4)), ValueError, r"view\.intrinsics: expected shape \[2, 4\]"),
    (dict(means=torch.zeros(3, 4, 3)), ValueError, r"splats\.means: expected shape \[2, 4, 3\]"),
    (dict(opacities=torch.zeros(3, 4)), ValueError, r"splats\.opacities: expected shape \[2, 4"),
    (dict(means2d=torch.zeros(4, 2)), ValueError, r"means2d: expected shape \[2, 4, 2\]"),
    (dict(world_to_camera=torch.ones(0, 4, 4)), ValueError, r"view\.world_to_camera: .* at least one view"),
]
WRONG += [(TWO_VIEWS | fields, error, message) for fields, error, message in WRONG_FOR_TWO_VIEWS]


@pytest.fixture(params=["on the CPU", "as on a GPU"])
def on_either(request, monkeypatch):
    """Where tensors are, as far as the front door looks: on a GPU, most are only looked at."""
    if request.param == "as on a GPU":
        monkeypatch.setattr(torch.Tensor, "is_cuda", True)


@pytest.mark.parametrize(("fields", "error", "message"), WRONG)
def test_wrong_input_is_named(on_either, fields, error, message):
    drawn, view, background, means2d, backend = changed(**fields)
    with pytest.raises(error, match=message):
        rasterize(drawn, view, background, means2d=means2d, backend=backend)


def in_float32(drawn, view, background, means2d) -> tuple:
    def single(value):
        return value.float() if isinstance(value, torch.Tensor) else value

    return Splats(*map(single, drawn)), View(*map(single, view)), single(background), single(means2d)


@pytest.mark.parametrize("name", [*scenes(), "no background", "column", "means2d", "wide means2d"])
def test_input_that_is_as_it_should_be_is_returned_itself(on_either, name):
    scene = scenes().get(name, scenes()["degree 3"])()
    drawn, view, background, means2d = in_float32(*scene, None)
    if name == "no background":
        background = None
    if name == "column":
        drawn = drawn._replace(opacities=drawn.opacities[:, None])
    if "means2d" in name:
        means2d = torch.zeros(60, 3 if "wide" in name else 2)
    checked, checked_view, *others = api.check_inputs(drawn, view, background, means2d)
    given = *drawn, *view, background, means2d
    assert all(a is b for a, b in zip((*checked, *checked_view, *others), given, strict=True))


def test_tensors_on_a_gpu_that_are_as_they_should_be_are_only_looked_at(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(api, "_adapted", None)
    for scene in scenes().values():
        api.check_inputs(*in_float32(*scene(), None))
    several = in_float32(*changed(**TWO_VIEWS, means2d=torch.zeros(2, 4, 3))[:4])
    assert api.check_inputs(*several)[3] is several[3]


def test_everything_gets_the_dtype_of_the_means(on_either):
    drawn = GOOD.splats._replace(means=GOOD.splats.means.half())
    checked, view, background, means2d = api.check_inputs(
        drawn, GOOD.view, GOOD.background, torch.zeros(4, 2)
    )
    tensors = *checked[:5], view.world_to_camera, view.intrinsics, background, means2d
    assert all(t.dtype == torch.float16 for t in tensors)
    assert torch.equal(checked.sh, drawn.sh.half()) and view[2:] == GOOD.view[2:]


def test_sets_of_each_view_give_the_others_a_leading_dimension(on_either):
    several = torch.stack([GOOD.splats.scales, 2 * GOOD.splats.scales])
    drawn, view, *_ = in_float32(*changed(**TWO_VIEWS, scales=several)[:4])
    checked, checked_view, *_ = api.check_inputs(drawn, view, None, None)
    assert checked.scales is drawn.scales and checked_view.intrinsics is view.intrinsics
    for name in ("means", "opacities", "rotations", "sh"):
        shared = getattr(drawn, name)
        assert torch.equal(getattr(checked, name), torch.stack([shared, shared])), name


def test_background_is_black_by_default():
    image = rasterize(splats(0), camera()).image
    assert not image.any()
