"""Small scenes for the rasterizer's tests, in float64, and a way to collect every gradient of a rendering."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diff_gaussian_rasterization import Rasterization, Splats, View, rasterize, reference


class Scene(NamedTuple):
    splats: Splats
    view: View
    background: Tensor


def camera(
    width: int = 45, height: int = 34, *, center: tuple[float, float] | None = None, near: float = 0.2
) -> View:
    """A camera some 2.5 units from the origin, turned about all axes, with unequal focal lengths."""
    x, y, z = torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64)
    zero = torch.zeros_like(x)
    generator = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    world_to_camera = torch.eye(4, dtype=torch.float64)
    world_to_camera[:3, :3] = torch.linalg.matrix_exp(generator)
    world_to_camera[:3, 3] = torch.tensor([0.05, -0.03, 2.5])
    cx, cy = center or (width / 2, height / 2)
    intrinsics = torch.tensor([1.3 * width, 1.4 * width, cx, cy], dtype=torch.float64)
    return View(world_to_camera, intrinsics, width, height, near)


def splats(num: int = 60, *, seed: int = 0, bases: int = 16, size: float = 0.08) -> Splats:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Splats(
        means=0.4 * normal(num, 3),
        opacities=torch.sigmoid(1.5 * normal(num)),
        scales=size * torch.exp(0.5 * normal(num, 3)),
        rotations=normal(num, 4),
        sh=0.4 * normal(num, bases, 3),
    )


def cov3d_of(scales: Tensor, rotations: Tensor) -> Tensor:
    """Covariances [N, 6] of scales and quaternions, by the exponential of the skew-symmetric generator."""
    q = rotations / rotations.norm(dim=1, keepdim=True)
    angle = 2 * torch.atan2(q[:, 1:].norm(dim=1), q[:, 0])
    x, y, z = (q[:, 1:] / q[:, 1:].norm(dim=1, keepdim=True) * angle[:, None]).unbind(1)
    zero = torch.zeros_like(x)
    rotation = torch.linalg.matrix_exp(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3))
    cov = rotation @ torch.diag_embed(scales**2) @ rotation.transpose(1, 2)
    return cov[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]


def _needles(s: Splats, width: float = 0.01) -> Splats:
    return s._replace(scales=s.scales * torch.tensor([12.0, width, width]))


def _stack(s: Splats) -> Splats:
    flat = s.means * torch.tensor([0.2, 0.2, 1.0])
    return s._replace(means=flat, opacities=torch.ones_like(s.opacities), scales=s.scales * 4)


def _part_behind(s: Splats) -> Splats:
    means = s.means.clone()
    # Around the near plane, on both sides of it.
    means[::2, 2] -= 2.3
    return s._replace(means=means)


def _colors(s: Splats) -> Splats:
    return s._replace(sh=None, colors=s.sh[:, 0] + 0.3)


def _cov3d(s: Splats) -> Splats:
    return s._replace(scales=None, rotations=None, cov3d=cov3d_of(s.scales, s.rotations))


def scenes() -> dict[str, Callable[[], Scene]]:
    """Scenes by name, each made anew."""
    background = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)

    def scene(s: Splats, view: View) -> Callable[[], Scene]:
        return lambda: Scene(s, view, background)

    wide = camera(70, 20)
    # Splats of about a pixel: dilation makes them half as heavy again, and more.
    sharp = camera()._replace(antialiased=True)
    inverse = camera()._replace(inverse_depth=True)
    return {
        "degree 3": scene(splats(), camera()),
        "degree 2": scene(splats(bases=9), camera()),
        "degree 1": scene(splats(bases=4), camera()),
        "degree 0": scene(splats(bases=1), camera()),
        "many": scene(splats(1500, size=0.05), camera(64, 48)),
        "colors": scene(_colors(splats()), camera()),
        "cov3d": scene(_cov3d(splats()), camera()),
        "cov3d and colors": scene(_cov3d(_colors(splats())), camera()),
        "needles": scene(_needles(splats()), camera()),
        "huge": scene(splats(20, size=30.0), camera()),
        "tiny": scene(splats(300, size=1e-5), camera()),
        "opaque stack": scene(_stack(splats()), camera()),
        "off-centre": scene(splats(), camera(center=(-4.0, 41.0))),
        "wide": scene(splats(), wide),
        "tall": scene(splats(), wide._replace(width=20, height=70)),
        "whole tiles": scene(splats(), camera(32, 16)),
        "one pixel": scene(splats(), camera(1, 1)),
        "part behind the camera": scene(_part_behind(splats(size=0.3)), camera()),
        "close": scene(_part_behind(splats(size=0.3)), camera(near=0.02)),
        "antialiased": scene(splats(200, size=0.02), sharp),
        "antialiased needles": scene(_needles(splats(200), 0.2), sharp),
        "antialiased cov3d": scene(_cov3d(splats(200, size=0.02)), sharp),
        "inverse depth": scene(splats(), inverse),
        "antialiased inverse depth": scene(
            _colors(splats(200, size=0.02)), sharp._replace(inverse_depth=True)
        ),
    }


def leaves_of(scene: Scene, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Return everything that can have a gradient as leaves, means2d among them."""
    tensors = {name: t for name, t in scene.splats._asdict().items() if t is not None}
    tensors["world_to_camera"] = scene.view.world_to_camera
    tensors["intrinsics"] = scene.view.intrinsics
    tensors["background"] = scene.background
    tensors["means2d"] = scene.splats.means.new_zeros(scene.splats.means.shape[0], 3)
    return {name: t.detach().to(dtype, copy=True).requires_grad_() for name, t in tensors.items()}


def draw(
    rasterize: Callable[..., Rasterization], scene: Scene, leaves: dict[str, Tensor], **options
) -> Rasterization:
    """Call `rasterize` with leaves in place of the scene's tensors."""
    drawn = Splats(**{name: leaves.get(name) for name in Splats._fields})
    view = scene.view._replace(world_to_camera=leaves["world_to_camera"], intrinsics=leaves["intrinsics"])
    return rasterize(drawn, view, leaves["background"], means2d=leaves["means2d"], **options)


def rasterize_on(device: str, drawn: Splats, view: View, background, means2d, backend) -> Rasterization:
    """Draw on a device what lies on the CPU, and bring the result back."""
    if device == "cpu":
        return rasterize(drawn, view, background, means2d=means2d, backend=backend)
    drawn = Splats(*(None if t is None else t.to(device) for t in drawn))
    camera_there = dict(
        world_to_camera=view.world_to_camera.to(device), intrinsics=view.intrinsics.to(device)
    )
    background, means2d = (None if t is None else t.to(device) for t in (background, means2d))
    result = rasterize(drawn, view._replace(**camera_there), background, means2d=means2d, backend=backend)
    return Rasterization(*(t.cpu() for t in result))


def random_loss(result: Rasterization) -> Tensor:
    """A linear function of image, depth and alpha that weighs every pixel differently."""
    generator = torch.Generator().manual_seed(5)
    loss = 0.0
    for output in result[:3]:
        weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        loss = loss + (output * weights.to(output)).sum()
    return loss


def render_with_gradients(rasterize, scene: Scene, dtype=torch.float64, **options):
    """Return the rendering and the gradients of `random_loss` by name."""
    leaves = leaves_of(scene, dtype)
    result = draw(rasterize, scene, leaves, **options)
    gradients = torch.autograd.grad(random_loss(result), list(leaves.values()))
    return result, dict(zip(leaves, gradients))


def relative_error(value: Tensor, truth: Tensor) -> float:
    """Norm of the difference over the norm of the truth (absolute where the truth is zero)."""
    difference = (value.double() - truth.double()).norm().item()
    norm = truth.double().norm().item()
    return difference / norm if norm > 0 else (math.inf if difference > 0 else 0.0)


def on_device(scene: Scene, device: str, dtype: torch.dtype = torch.float32) -> Scene:
    """A scene whose tensors lie on a device, rounded to a dtype."""
    view = scene.view._replace(
        world_to_camera=scene.view.world_to_camera.to(device, dtype),
        intrinsics=scene.view.intrinsics.to(device, dtype),
    )
    drawn = Splats(*(None if t is None else t.to(device, dtype) for t in scene.splats))
    return Scene(drawn, view, scene.background.to(device, dtype))


def assert_equals_reference(
    rasterize: Callable[..., Rasterization], scene: Scene, order: Tensor | None
) -> None:
    """Compare image, depth, alpha, radii and every gradient of a float32 scene with the reference's, in the
    depth order that is given, or in its own."""
    result, gradients = render_with_gradients(rasterize, scene, torch.float32)
    there = on_device(scene, "cpu")
    truth, true_gradients = render_with_gradients(reference.rasterize, there, torch.float64, order=order)
    assert ((result.radii.cpu() - truth.radii).abs() > 1).sum() == 0
    for field in ("image", "depth", "alpha"):
        value, true_value = getattr(result, field).cpu(), getattr(truth, field)
        assert value.dtype == torch.float32 and value.shape == true_value.shape
        scale = max(1.0, true_value.abs().max().item())
        wrong = ((value - true_value).abs() > 1e-4 * scale).double().mean().item()
        assert wrong <= (5e-3 if order is None else 1e-4), (field, wrong)
    for key, gradient in gradients.items():
        assert relative_error(gradient.cpu(), true_gradients[key]) < 1e-3, key
