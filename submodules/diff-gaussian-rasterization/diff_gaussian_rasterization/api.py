"""The front door: checks of what comes in, and the choice of the back-end."""

import functools
import importlib
import sys

import torch
from torch import Tensor

from . import cuda
from .types import Rasterization, Splats, View

# name -> module with rasterize(splats, view, background, means2d) for checked, dtype-uniform input
BACKENDS = {
    "reference": "diff_gaussian_rasterization.reference",
    "cpu": "diff_gaussian_rasterization.cpu",
    "cuda": "diff_gaussian_rasterization.cuda",
}
SH_BASES = (1, 4, 9, 16)


def rasterize(
    splats: Splats,
    view: View,
    background: Tensor | None = None,  # [3], default black
    *,
    means2d: Tensor | None = None,  # [N, 2] or [N, 3]; [B, N, ...] for several views
    backend: str | None = None,
) -> Rasterization:
    """Draw Gaussians front to back into an image (Kerbl et al. 2023, Eq. 3; conventions in the README).

    Gradients of image, depth and alpha reach every tensor of `splats`, the camera's `world_to_camera` and
    `intrinsics`, and `background`. `means2d` is a leaf of any value that only collects a gradient: d loss / d
    screen mean in NDC units (pixels x width / 2, height / 2; a third column gets zeros). Several views are
    drawn by one call: see types.py. `backend` is "reference", "cpu" or "cuda"; None chooses by the device of
    `splats.means`. Results come in the dtype of
    `splats.means`, whatever a back-end computes in.

    Raises TypeError or ValueError naming the tensor that is wrong.
    """
    splats, view, background, means2d = check_inputs(splats, view, background, means2d)
    name = choose_backend(splats.means.device, backend)
    if name == "cuda":
        return cuda.rasterize(splats, view, background, means2d)
    draw = importlib.import_module(BACKENDS[name]).rasterize
    if splats.opacities.shape != splats.means.shape[:-1]:
        splats = splats._replace(opacities=splats.opacities.squeeze(-1))
    if background is None:
        background = splats.means.new_zeros(3)
    if view.world_to_camera.ndim == 2:
        return draw(splats, view, background, means2d)
    parts = [
        draw(*_one_view(splats, view, k), background, None if means2d is None else means2d[k])
        for k in range(view.world_to_camera.shape[0])
    ]
    return Rasterization(*map(torch.stack, zip(*parts)))


def choose_backend(device: torch.device, requested: str | None) -> str:
    """Return the name of the back-end for tensors on `device`."""
    if requested is None:
        if device.type == "cpu":
            return "cpu"
        return "cuda" if _cuda_is_available(device) else "reference"
    if requested not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)} or None, got {requested!r}")
    if requested == "cpu" and device.type != "cpu":
        raise ValueError(f"backend: 'cpu' needs tensors on the CPU, but splats.means is on {device}")
    if requested == "cuda" and not _cuda_is_available(device):
        raise ValueError(
            f"backend: 'cuda' needs tensors on a CUDA device of compute capability 7.5 or more, and "
            f"{_INSTALL}; splats.means is on {device}"
        )
    return requested


@functools.cache
def _cuda_is_available(device: torch.device) -> bool:
    available = cuda.is_available(device)
    if device.type == "cuda" and not available and not cuda.compiler.is_installed():
        print(f"diff_gaussian_rasterization: the CUDA kernels need {_INSTALL}", file=sys.stderr)
    return available


_INSTALL = f"cuda-core (pip install 'cuda-core[cu{(torch.version.cuda or '13').split('.')[0]}]')"


def check_inputs(
    splats: Splats, view: View, background: Tensor | None, means2d: Tensor | None
) -> tuple[Splats, View, Tensor | None, Tensor | None]:
    """Check names, types, shapes and devices; return everything in the dtype of `splats.means`."""
    means = splats.means
    if getattr(means, "is_cuda", False) and is_plain(splats, view, background, means2d):
        return splats, view, background, means2d
    if not isinstance(means, Tensor) or not means.is_floating_point():
        raise TypeError(f"splats.means: expected a floating-point tensor, got {_describe(means)}")
    num = means.shape[-2] if means.ndim >= 2 else 0
    camera = view.world_to_camera
    batch = camera.shape[:1] if isinstance(camera, Tensor) and camera.ndim == 3 else ()  # () or (B,)
    if batch == (0,):
        raise ValueError("view.world_to_camera: expected at least one view, got [0, 4, 4]")
    like = _Like(means, batch)
    means = like.check_set("splats.means", means, (num, 3))
    opacities, sh = splats.opacities, splats.sh
    column = isinstance(opacities, Tensor) and opacities.ndim > 1 and opacities.shape[-2:] == (num, 1)
    opacities = like.check_set("splats.opacities", opacities, (num, 1) if column else (num,))

    _exactly_one("splats.sh", sh, "splats.colors", splats.colors)
    _exactly_one("splats.scales", splats.scales, "splats.cov3d", splats.cov3d)
    if (splats.scales is None) != (splats.rotations is None):
        raise ValueError("splats.rotations: must be given with splats.scales, and only then")
    if sh is not None:
        bases = sh.shape[-2] if isinstance(sh, Tensor) and sh.ndim >= 3 else 0
        if bases not in SH_BASES:
            raise ValueError(f"splats.sh: expected [{num}, 1 | 4 | 9 | 16, 3], got {_describe(sh)}")
        sh = like.check_set("splats.sh", sh, (num, bases, 3))
    scales = like.check_set("splats.scales", splats.scales, (num, 3))
    rotations = like.check_set("splats.rotations", splats.rotations, (num, 4))
    colors = like.check_set("splats.colors", splats.colors, (num, 3))
    cov3d = like.check_set("splats.cov3d", splats.cov3d, (num, 6))
    checked = Splats(means, opacities, scales, rotations, sh, colors, cov3d)
    if like.per_view:
        checked = Splats(*map(like.for_each_view, Splats._fields, checked))

    for name, size in (("width", view.width), ("height", view.height)):
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"view.{name}: expected a positive int, got {size!r}")
    if not view.near > 0:
        raise ValueError(f"view.near: expected a positive distance, got {view.near!r}")
    view = View(
        like.check("view.world_to_camera", camera, (*batch, 4, 4)),
        like.check("view.intrinsics", view.intrinsics, (*batch, 4)),
        *view[2:],
    )
    if means.device.type == "cpu":  # elsewhere looking at values would wait for the device
        if not view.world_to_camera.isfinite().all():
            raise ValueError("view.world_to_camera: has NaN or infinite entries")
        if not (view.intrinsics.isfinite().all() and (view.intrinsics[..., :2] > 0).all()):
            raise ValueError(
                f"view.intrinsics: expected finite fx > 0, fy > 0, cx, cy, got {view.intrinsics.tolist()}"
            )
    background = like.check("background", background, (3,))
    if means2d is not None:
        columns = 3 if isinstance(means2d, Tensor) and means2d.ndim >= 2 and means2d.shape[-1] == 3 else 2
        means2d = like.check("means2d", means2d, (*batch, num, columns))
    return checked, view, background, means2d


def is_plain(splats: Splats, view: View, background: Tensor | None, means2d: Tensor | None) -> bool:
    """Whether this is a single view, all in float32, in which there is nothing to convert or to complain of.

    The most frequent input, recognised in half the time of the checks below; in doubt, no. It does not look
    at values.
    """
    means, opacities, scales, rotations, sh, colors, cov3d = splats
    camera, intrinsics, width, height, near = view
    try:
        num, device = means.shape[0], means.device
        expected = [(means, (num, 3)), (opacities, (num, 1) if opacities.ndim == 2 else (num,))]
        if cov3d is None:
            expected += (scales, (num, 3)), (rotations, (num, 4))
        elif scales is None is rotations:
            expected.append((cov3d, (num, 6)))
        else:
            return False
        if colors is None and sh.shape[1] in SH_BASES:
            expected.append((sh, (num, sh.shape[1], 3)))
        elif sh is None:
            expected.append((colors, (num, 3)))
        else:
            return False
        expected += (camera, (4, 4)), (intrinsics, (4,))
        if background is not None:
            expected.append((background, (3,)))
        if means2d is not None:
            expected.append((means2d, (num, 3 if means2d.shape[1] == 3 else 2)))
        for tensor, shape in expected:
            if tensor.shape != shape or tensor.dtype is not torch.float32 or tensor.device != device:
                return False
    except (AttributeError, IndexError):  # None, or not a tensor, or one of too few dimensions
        return False
    return type(width) is type(height) is int and width > 0 and height > 0 and near > 0


def _one_view(splats: Splats, view: View, k: int) -> tuple[Splats, View]:
    if splats.means.ndim == 3:
        splats = Splats(*(None if t is None else t[k] for t in splats))
    return splats, view._replace(world_to_camera=view.world_to_camera[k], intrinsics=view.intrinsics[k])


class _Like:
    """Checks tensors against the device of `splats.means` and brings them to its dtype."""

    def __init__(self, means: Tensor, batch: tuple[int, ...]):
        self.dtype, self.device, self.batch = means.dtype, means.device, tuple(batch)
        self.per_view: set[str] = set()  # tensors of the Gaussians that have a leading B

    def check(self, name: str, value: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
        if value is None:
            return None
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise TypeError(f"{name}: expected a floating-point tensor, got {_describe(value)}")
        if value.shape != shape:
            raise ValueError(f"{name}: expected shape {list(shape)}, got {list(value.shape)}")
        if value.device != self.device:
            raise ValueError(f"{name}: is on {value.device}, but splats.means is on {self.device}")
        return value if value.dtype is self.dtype else value.to(self.dtype)

    def check_set(self, name: str, value: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
        """Check a tensor of the Gaussians, which may have a leading B where there are several views."""
        if self.batch and isinstance(value, Tensor) and value.ndim > len(shape):
            self.per_view.add(name)
            shape = *self.batch, *shape
        return self.check(name, value, shape)

    def for_each_view(self, field: str, value: Tensor | None) -> Tensor | None:
        """Give a tensor of the Gaussians that all views share the leading B of the others."""
        if value is None or f"splats.{field}" in self.per_view:
            return value
        return value.expand(*self.batch, *value.shape)


def _exactly_one(first: str, a: Tensor | None, second: str, b: Tensor | None) -> None:
    if (a is None) == (b is None):
        raise ValueError(
            f"{first}, {second}: expected exactly one of them, got {'neither' if a is None else 'both'}"
        )


def _describe(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
