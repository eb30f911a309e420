"""The front door: checks of what comes in, and the choice of the back-end."""

import importlib

import torch
from torch import Tensor

from .types import Rasterization, Splats, View

# name -> module with rasterize(splats, view, background, means2d) for checked, dtype-uniform input
BACKENDS = {
    "reference": "diff_gaussian_rasterization.reference",
    "cpu": "diff_gaussian_rasterization.cpu",
}
SH_BASES = (1, 4, 9, 16)


def rasterize(
    splats: Splats,
    view: View,
    background: Tensor | None = None,  # [3], default black
    *,
    means2d: Tensor | None = None,  # [N, 2] or [N, 3]
    backend: str | None = None,
) -> Rasterization:
    """Draw Gaussians front to back into an image (Kerbl et al. 2023, Eq. 3; conventions in the README).

    Gradients of image, depth and alpha reach every tensor of `splats`, the camera's `world_to_camera` and
    `intrinsics`, and `background`. `means2d` is a leaf of any value that only collects a gradient: d loss / d
    screen mean in NDC units (pixels x width / 2, height / 2; a third column gets zeros). `backend` is
    "reference" or "cpu"; None chooses by the device of `splats.means`. Results come in the dtype of
    `splats.means`, whatever a back-end computes in.

    Raises TypeError or ValueError naming the tensor that is wrong.
    """
    splats, view, background, means2d = check_inputs(splats, view, background, means2d)
    name = choose_backend(splats.means.device, backend)
    return importlib.import_module(BACKENDS[name]).rasterize(splats, view, background, means2d)


def choose_backend(device: torch.device, requested: str | None) -> str:
    """Return the name of the back-end for tensors on `device`."""
    if requested is not None and requested not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)} or None, got {requested!r}")
    if requested == "cpu" and device.type != "cpu":
        raise ValueError(f"backend: 'cpu' needs tensors on the CPU, but splats.means is on {device}")
    return requested or ("cpu" if device.type == "cpu" else "reference")


def check_inputs(
    splats: Splats, view: View, background: Tensor | None, means2d: Tensor | None
) -> tuple[Splats, View, Tensor, Tensor | None]:
    """Check names, types, shapes and devices; return everything in the dtype of `splats.means`."""
    means = splats.means
    if not isinstance(means, Tensor) or not means.is_floating_point():
        raise TypeError(f"splats.means: expected a floating-point tensor, got {_describe(means)}")
    num = means.shape[0] if means.ndim else 0
    like = _Like(means)
    means = like.check("splats.means", means, (num, 3))
    opacities = splats.opacities
    if isinstance(opacities, Tensor) and opacities.ndim == 2:
        opacities = like.check("splats.opacities", opacities, (num, 1))[:, 0]  # [N]
    opacities = like.check("splats.opacities", opacities, (num,))

    _exactly_one("splats.sh", splats.sh, "splats.colors", splats.colors)
    _exactly_one("splats.scales", splats.scales, "splats.cov3d", splats.cov3d)
    if (splats.scales is None) != (splats.rotations is None):
        raise ValueError("splats.rotations: must be given with splats.scales, and only then")
    sh = splats.sh
    if sh is not None:
        bases = sh.shape[1] if isinstance(sh, Tensor) and sh.ndim == 3 else 0
        if bases not in SH_BASES:
            raise ValueError(f"splats.sh: expected [{num}, 1 | 4 | 9 | 16, 3], got {_describe(sh)}")
        sh = like.check("splats.sh", sh, (num, bases, 3))
    checked = Splats(
        means,
        opacities,
        like.check("splats.scales", splats.scales, (num, 3)),
        like.check("splats.rotations", splats.rotations, (num, 4)),
        sh,
        like.check("splats.colors", splats.colors, (num, 3)),
        like.check("splats.cov3d", splats.cov3d, (num, 6)),
    )

    for name in ("width", "height"):
        if not isinstance(getattr(view, name), int) or getattr(view, name) < 1:
            raise ValueError(f"view.{name}: expected a positive int, got {getattr(view, name)!r}")
    if not view.near > 0:
        raise ValueError(f"view.near: expected a positive distance, got {view.near!r}")
    view = view._replace(
        world_to_camera=like.check("view.world_to_camera", view.world_to_camera, (4, 4)),
        intrinsics=like.check("view.intrinsics", view.intrinsics, (4,)),
    )
    if means.device.type == "cpu":  # elsewhere looking at values would wait for the device
        if not view.world_to_camera.isfinite().all():
            raise ValueError("view.world_to_camera: has NaN or infinite entries")
        if not (view.intrinsics.isfinite().all() and (view.intrinsics[:2] > 0).all()):
            raise ValueError(
                f"view.intrinsics: expected finite fx > 0, fy > 0, cx, cy, got {view.intrinsics.tolist()}"
            )
    if background is None:
        background = means.new_zeros(3)
    background = like.check("background", background, (3,))
    if means2d is not None:
        columns = 3 if isinstance(means2d, Tensor) and means2d.ndim == 2 and means2d.shape[1] == 3 else 2
        means2d = like.check("means2d", means2d, (num, columns))
    return checked, view, background, means2d


class _Like:
    """Checks tensors against the device of `splats.means` and brings them to its dtype."""

    def __init__(self, means: Tensor):
        self.means = means

    def check(self, name: str, value: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
        if value is None:
            return None
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise TypeError(f"{name}: expected a floating-point tensor, got {_describe(value)}")
        if tuple(value.shape) != shape:
            raise ValueError(f"{name}: expected shape {list(shape)}, got {list(value.shape)}")
        if value.device != self.means.device:
            raise ValueError(f"{name}: is on {value.device}, but splats.means is on {self.means.device}")
        return value.to(self.means.dtype)


def _exactly_one(first: str, a: Tensor | None, second: str, b: Tensor | None) -> None:
    if (a is None) == (b is None):
        raise ValueError(
            f"{first}, {second}: expected exactly one of them, got {'neither' if a is None else 'both'}"
        )


def _describe(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
