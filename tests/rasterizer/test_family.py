"""The 3DGS family's API on top of `rasterize`."""

import inspect

import pytest
import torch

from diff_gaussian_rasterization import (
    GaussianRasterizationSettings,
    GaussianRasterizer,
    Splats,
    View,
    rasterize,
    reference,
    set_interface,
)
from diff_gaussian_rasterization.family import RETURNS, interface_of
from tests.rasterizer.scenes import camera, cov3d_of, relative_error, splats


@pytest.fixture(autouse=True)
def interface(monkeypatch):
    """No interface chosen, neither before a test nor after."""
    monkeypatch.delenv("GAUSSIAN_RASTERIZER_API", raising=False)
    yield
    set_interface(None)


def settings_of(
    view: View, *, degree: int = 3, scale_modifier: float = 1.0, **fields
) -> GaussianRasterizationSettings:
    """Settings as code of the family makes them: a projection matrix with w = z, both matrices transposed."""
    fx, fy, cx, cy = view.intrinsics.unbind()
    near, far = 0.01, 100.0
    projection = torch.zeros(4, 4, dtype=torch.float64)
    projection[0, 0], projection[0, 2] = 2 * fx / view.width, 2 * cx / view.width - 1
    projection[1, 1], projection[1, 2] = 2 * fy / view.height, 2 * cy / view.height - 1
    projection[2, 2], projection[2, 3], projection[3, 2] = far / (far - near), -far * near / (far - near), 1
    return GaussianRasterizationSettings(
        image_height=view.height,
        image_width=view.width,
        tanfovx=view.width / (2 * fx.item()),
        tanfovy=view.height / (2 * fy.item()),
        bg=torch.tensor([0.3, 0.1, 0.7]).double(),
        scale_modifier=scale_modifier,
        viewmatrix=view.world_to_camera.T,
        projmatrix=(projection @ view.world_to_camera).T,
        sh_degree=degree,
        campos=torch.linalg.inv(view.world_to_camera)[:3, 3],
        prefiltered=False,
        debug=False,
        **fields,
    )


def called(settings: GaussianRasterizationSettings, s: Splats, means2d=None) -> tuple[torch.Tensor, ...]:
    """A call in the family's words."""
    rasterizer = GaussianRasterizer(raster_settings=settings)
    return rasterizer(
        means3D=s.means,
        means2D=means2d,
        shs=s.sh,
        colors_precomp=s.colors,
        opacities=s.opacities[:, None],
        scales=s.scales,
        rotations=s.rotations,
        cov3D_precomp=s.cov3d,
    )


def test_rasterizer_returns_what_rasterize_returns():
    view, s = camera(center=(20.0, 19.0)), splats()
    means2d = torch.zeros(60, 3, dtype=torch.float64, requires_grad=True)
    settings = settings_of(view)
    set_interface("depth")
    image, radii, depth = called(settings, s, means2d)
    other = torch.zeros(60, 3, dtype=torch.float64, requires_grad=True)
    truth = rasterize(s, view, settings.bg, means2d=other)
    torch.testing.assert_close(image, truth.image, atol=1e-6, rtol=0)
    torch.testing.assert_close(depth, truth.depth[None], atol=1e-5, rtol=0)
    assert torch.equal(radii, truth.radii)
    image.square().sum().backward()
    truth.image.square().sum().backward()
    torch.testing.assert_close(means2d.grad, other.grad, rtol=1e-4, atol=1e-5)
    assert means2d.grad.abs().sum() > 0


def test_degree_colours_covariances_and_scale_modifier():
    view, s = camera(), splats()
    rasterizer = GaussianRasterizer(settings_of(view, degree=1, scale_modifier=1.5))
    background = rasterizer.raster_settings.bg
    image = rasterizer(s.means, None, s.opacities, shs=s.sh, scales=s.scales, rotations=s.rotations)[0]
    truth = rasterize(s._replace(sh=s.sh[:, :4], scales=1.5 * s.scales), view, background)
    torch.testing.assert_close(image, truth.image, atol=1e-6, rtol=0)

    rasterizer = GaussianRasterizer(settings_of(view))
    colors, cov3d = s.sh[:, 0], cov3d_of(s.scales, s.rotations)
    image = rasterizer(s.means, None, s.opacities, colors_precomp=colors, cov3D_precomp=cov3d)[0]
    truth = rasterize(Splats(s.means, s.opacities, s.scales, s.rotations, colors=colors), view, background)
    torch.testing.assert_close(image, truth.image, atol=1e-6, rtol=0)


def test_mark_visible_is_the_near_plane():
    view = camera()._replace(world_to_camera=torch.eye(4, dtype=torch.float64))
    points = torch.tensor([[0.0, 0, 0.19], [0, 0, 0.21], [50, 0, 1], [0, 0, -1]]).double()
    visible = GaussianRasterizer(settings_of(view)).markVisible(points)
    assert visible.tolist() == [False, True, True, False]


def test_camera_gradients_pass_through_the_matrices():
    view, s = camera(center=(20.0, 19.0)), splats()

    def gradients(draw) -> tuple[torch.Tensor, ...]:
        leaves = [t.clone().requires_grad_() for t in (view.world_to_camera, view.intrinsics)]
        image = draw(View(*leaves, view.width, view.height))
        return torch.autograd.grad(image.square().sum(), leaves)

    def by_the_family(view: View) -> torch.Tensor:
        rasterizer = GaussianRasterizer(settings_of(view))
        return rasterizer(s.means, None, s.opacities, shs=s.sh, scales=s.scales, rotations=s.rotations)[0]

    truth = gradients(lambda view: rasterize(s, view, settings_of(view).bg).image)
    for gradient, true_gradient in zip(gradients(by_the_family), truth):
        assert true_gradient.any() and relative_error(gradient, true_gradient) < 1e-5


# --- the variants


def test_settings_tell_2023_from_2024():
    view, s = camera(), splats()
    assert len(called(settings_of(view), s)) == 2
    for antialiasing in (False, True):
        settings = settings_of(view, antialiasing=antialiasing)
        assert interface_of(settings) == "2024-10" and len(called(settings, s)) == 3


def test_fields_are_in_the_order_in_which_callers_may_give_them():
    fields = GaussianRasterizationSettings._fields
    assert fields[-3:] == ("prefiltered", "debug", "antialiasing")
    parameters = list(inspect.signature(GaussianRasterizer.forward).parameters)[1:]
    names = [
        "means3D",
        "means2D",
        "opacities",
        "shs",
        "colors_precomp",
        "scales",
        "rotations",
        "cov3D_precomp",
    ]
    assert parameters == names


@pytest.mark.parametrize("antialiasing", [None, False, True])
@pytest.mark.parametrize("name", RETURNS)
def test_values_are_those_of_the_reference_in_the_order_of_the_interface(name, antialiasing):
    view, s = camera(), splats(200, size=0.02)
    set_interface(name)
    settings = settings_of(view, antialiasing=antialiasing)
    values = dict(zip(RETURNS[name], called(settings, s), strict=True))
    view = view._replace(antialiased=bool(antialiasing))
    truth = reference.rasterize(s, view, settings.bg)
    inverse = reference.rasterize(s, view._replace(inverse_depth=True), settings.bg).depth
    truths = truth._asdict() | {"inverse_depth": inverse}
    for key, value in values.items():
        true_value = truths[key] if key in ("image", "radii") else truths[key][None]
        # float32 depths order a pair of neighbours the other way round here and there
        assert value.shape == true_value.shape and relative_error(value, true_value) < 1e-3, key
    assert values["image"].shape[0] == 3 and values["radii"].dtype == torch.int32


@pytest.mark.parametrize("antialiasing", [None, True])
@pytest.mark.parametrize("name", ["2024-10", "depth", "depth-alpha", "depth-alpha-radii"])
def test_gradients_pass_through_every_value(name, antialiasing):
    """Of one value at a time, against autograd through the reference in float64 (which test_reference.py has
    compared with differences)."""
    view, s = camera(), splats(40, size=0.05)
    set_interface(name)
    settings = settings_of(view, antialiasing=antialiasing)
    inverse = "inverse_depth" in RETURNS[name]
    view = view._replace(antialiased=bool(antialiasing), inverse_depth=inverse)
    weights = torch.rand(1, view.height, view.width, dtype=torch.float64)

    def gradients(value_of) -> list[torch.Tensor]:
        leaves = [t.clone().requires_grad_() for t in (s.means, s.opacities, s.scales, s.rotations)]
        value = value_of(s._replace(**dict(zip(("means", "opacities", "scales", "rotations"), leaves))))
        return list(torch.autograd.grad((weights * value).sum(), leaves))

    for place, key in enumerate(RETURNS[name]):
        if key in ("image", "radii"):
            continue
        field = "alpha" if key == "alpha" else "depth"
        truth = gradients(
            lambda s, field=field: getattr(reference.rasterize(s, view, settings.bg), field)[None]
        )
        for value, true_value in zip(gradients(lambda s, place=place: called(settings, s)[place]), truth):
            assert true_value.any() and relative_error(value, true_value) < 1e-3, key


def test_antialiasing_dims_small_splats_and_leaves_large_ones_alone():
    view = camera(64, 64)
    for size, low, high in ((0.002, 0.0, 0.2), (2.0, 0.999, 1.001)):
        s = splats(1, size=size)._replace(means=torch.zeros(1, 3).double(), opacities=torch.ones(1).double())
        alphas = [rasterize(s, view._replace(antialiased=flag)).alpha.sum() for flag in (True, False)]
        assert low < alphas[0] / alphas[1] < high


def test_environment_chooses_and_a_call_wins(monkeypatch):
    view, s = camera(), splats()
    monkeypatch.setenv("GAUSSIAN_RASTERIZER_API", "depth-alpha")
    assert len(called(settings_of(view), s)) == 4
    set_interface("2023")
    assert len(called(settings_of(view, antialiasing=True), s)) == 2
    set_interface("auto")
    assert len(called(settings_of(view), s)) == 2
    set_interface(None)
    assert len(called(settings_of(view), s)) == 4
    monkeypatch.setenv("GAUSSIAN_RASTERIZER_API", "")
    assert len(called(settings_of(view), s)) == 2


def test_unknown_interface_is_named_with_those_there_are(monkeypatch):
    with pytest.raises(ValueError, match=r"set_interface: expected auto, 2023, .*, got 'depths'"):
        set_interface("depths")
    monkeypatch.setenv("GAUSSIAN_RASTERIZER_API", "2025")
    with pytest.raises(ValueError, match=r"\$GAUSSIAN_RASTERIZER_API: expected auto, .*, got '2025'"):
        called(settings_of(camera()), splats())


def test_matrices_may_have_a_leading_one():
    settings, s = settings_of(camera(center=(20.0, 19.0))), splats()
    batched = settings._replace(viewmatrix=settings.viewmatrix[None], projmatrix=settings.projmatrix[None])
    assert torch.equal(called(batched, s)[0], called(settings, s)[0])
    points = torch.randn(50, 3, dtype=torch.float64) * 3
    visible = [GaussianRasterizer(one).markVisible(points) for one in (batched, settings)]
    assert torch.equal(*visible) and visible[0].any() and not visible[0].all()


@pytest.mark.gpu
@pytest.mark.parametrize("antialiasing", [None, True])
@pytest.mark.parametrize("name", RETURNS)
def test_variants_on_cuda_are_those_on_the_cpu(name, antialiasing):
    set_interface(name)
    s = splats(200, size=0.02)
    settings = settings_of(camera(), antialiasing=antialiasing)
    here = Splats(*(None if t is None else t.float().requires_grad_() for t in s))
    there = Splats(*(None if t is None else t.detach().cuda().requires_grad_() for t in here))
    on_gpu = settings._replace(
        **{
            key: value.float().cuda()
            for key, value in settings._asdict().items()
            if isinstance(value, torch.Tensor)
        }
    )
    values, true_values = called(on_gpu, there), called(settings, here)
    for key, value, true_value in zip(RETURNS[name], values, true_values, strict=True):
        assert value.is_cuda and relative_error(value.detach().cpu(), true_value.detach()) < 1e-3, key
    for drawn in (values, true_values):
        sum(value.square().sum() for value in drawn if value.requires_grad).backward()
    for field in ("means", "opacities", "scales", "rotations", "sh"):
        gradient, truth = getattr(there, field).grad.cpu(), getattr(here, field).grad
        assert relative_error(gradient, truth) < 5e-3, field
