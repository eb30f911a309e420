"""Drawing through `render`: the family's Python paths beside the rasterizer's own, --debug, any camera."""

from types import SimpleNamespace

import pytest
import torch

from arguments import PipelineParams
from diff_gaussian_rasterization import Splats, rasterize
from gaussian_renderer import render
from scene.cameras import Camera
from tests.rasterizer.scenes import Scene, camera, leaves_of, random_loss, relative_error, scenes, splats

PYTHON_PATHS = {
    "convert_SHs_python": PipelineParams(convert_SHs_python=True),
    "compute_cov3D_python": PipelineParams(compute_cov3D_python=True),
    "both": PipelineParams(convert_SHs_python=True, compute_cov3D_python=True),
}


def drawn_with_gradients(scene: Scene, pipeline: PipelineParams):
    """Return the rendering and the gradients of a random loss, by name."""
    leaves = leaves_of(scene)
    view = SimpleNamespace(**scene.view._asdict())
    view.world_to_camera, view.intrinsics = leaves["world_to_camera"], leaves["intrinsics"]
    given = Splats(**{name: leaves.get(name) for name in Splats._fields})
    result = render(view, given, leaves["background"], means2d=leaves["means2d"], pipeline=pipeline)
    gradients = torch.autograd.grad(random_loss(result), list(leaves.values()))
    return result, dict(zip(leaves, gradients))


@pytest.mark.parametrize("path", PYTHON_PATHS)
@pytest.mark.parametrize("name", ["degree 3", "degree 1", "degree 0", "off-centre", "part behind the camera"])
def test_python_paths_equal_the_rasterizers_own(name, path):
    scene = scenes()[name]()
    result, gradients = drawn_with_gradients(scene, PYTHON_PATHS[path])
    truth, true_gradients = drawn_with_gradients(scene, PipelineParams())
    assert truth.alpha.max() > 0.1 and torch.equal(result.radii, truth.radii)
    # The rasterizer takes float32: colours and covariances are rounded once more on the way in.
    for field in ("image", "depth", "alpha"):
        assert relative_error(getattr(result, field), getattr(truth, field)) < 1e-5, field
    for key, gradient in gradients.items():
        assert true_gradients[key].any(), key
        assert relative_error(gradient, true_gradients[key]) < 1e-4, key


def test_colours_below_zero_are_cut_and_have_no_gradient():
    scene = scenes()["degree 0"]()
    dark = scene.splats._replace(sh=scene.splats.sh - 5)
    result, gradients = drawn_with_gradients(scene._replace(splats=dark), PYTHON_PATHS["convert_SHs_python"])
    through = (1 - result.alpha) * scene.background[:, None, None]
    torch.testing.assert_close(result.image, through, atol=1e-6, rtol=0)
    assert not gradients["sh"].any() and gradients["opacities"].any()


@pytest.mark.parametrize("name", ["means", "opacities", "scales", "rotations", "sh"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_debug_names_the_tensor_and_counts(name, bad):
    view, given = camera(), splats(20)
    broken = getattr(given, name).clone()
    broken.view(-1)[3:5] = bad
    given = given._replace(**{name: broken})
    message = f"splats: {name}: 2 of {broken.numel()} numbers are not finite"
    with pytest.raises(FloatingPointError, match=message):
        render(view, given, torch.zeros(3), pipeline=PipelineParams(debug=True))
    assert render(view, given, torch.zeros(3)).image.isfinite().all()


def test_debug_looks_at_the_rendering_too(monkeypatch):
    def without_depth(*arguments, **options):
        result = rasterize(*arguments, **options)
        return result._replace(depth=result.depth / 0)

    monkeypatch.setattr("gaussian_renderer.rasterize", without_depth)
    with pytest.raises(FloatingPointError, match=r"rendering: depth: 1530 of 1530 numbers"):
        render(camera(), splats(20), torch.zeros(3), pipeline=PipelineParams(debug=True))


def test_debug_changes_nothing_that_is_finite():
    arguments = camera(), splats(20), torch.ones(3).double()
    plain, debugged = render(*arguments), render(*arguments, pipeline=PipelineParams(debug=True))
    assert all(torch.equal(a, b) for a, b in zip(plain, debugged, strict=True))


class Slotted:
    """A camera with the documented attributes and no others."""

    __slots__ = ("height", "intrinsics", "near", "width", "world_to_camera")


@pytest.mark.parametrize("pipeline", [PipelineParams(), PYTHON_PATHS["both"]])
def test_any_type_of_camera_will_do(pipeline):
    given = Splats(*(None if t is None else t.float() for t in splats(20)))
    view = camera(near=0.3)
    fx, fy, cx, cy = view.intrinsics.tolist()
    own = Camera(view.world_to_camera.float(), fx, fy, cx, cy, view.width, view.height, view.near)
    slotted = Slotted()
    for name in Slotted.__slots__:
        setattr(slotted, name, getattr(own, name))
    truth = render(own, given, torch.ones(3), pipeline=pipeline)
    for other in (slotted, view):
        result = render(other, given, torch.ones(3), pipeline=pipeline)
        # The View is in float64 until it meets the float32 means.
        torch.testing.assert_close(result.image, truth.image, atol=1e-5, rtol=0)
    assert torch.equal(render(slotted, given, torch.ones(3), pipeline=pipeline).image, truth.image)
