"""The front door: checks of what comes in, and the choice of the back-end."""

import functools
import importlib
import sys
from collections.abc import Sequence

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
_NAMES = (
    *(f"splats.{field}" for field in Splats._fields),
    *("view.world_to_camera", "view.intrinsics", "background", "means2d"),
)


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


def compile_ahead(device: torch.device) -> None:
    """Begin to compile, in processes beside this one, what drawing on `device` will need and no cache on disk
    has: the CPU's kernels, which take seconds. Returns at once; the first drawing waits for it."""
    if choose_backend(device, None) == "cpu":
        importlib.import_module(BACKENDS["cpu"]).compile_ahead()


def has_kernels(device: torch.device) -> bool:
    """Return whether tensors on `device` are drawn by the CUDA kernels; looked up once for each device."""
    return choose_backend(device, None) == "cuda"


def has_short_lists(device: torch.device) -> bool:
    """Return whether drawing on `device` has become slow for want of room, which the next call makes.

    A captured CUDA graph keeps the room that it was captured with: capture it anew.
    """
    return has_kernels(device) and cuda.lists_are_short(device)


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
    means, camera = splats.means, view.world_to_camera
    if not isinstance(means, Tensor) or not means.is_floating_point():
        raise TypeError(f"splats.means: expected a floating-point tensor, got {_describe(means)}")
    _check_numbers(splats, view)
    batch = camera.shape[:1] if isinstance(camera, Tensor) and camera.ndim == 3 else ()  # () or (B,)
    shapes = _expected_shapes(splats, batch, means2d)
    tensors = *splats, camera, view.intrinsics, background, means2d
    if means.is_cuda and _are_alike(tensors, shapes):
        return splats, view, background, means2d
    *fields, camera, intrinsics, background, means2d = _adapted(tensors, shapes, batch)
    # Elsewhere, looking at values would wait for the device.
    if means.device.type == "cpu":
        if not camera.isfinite().all():
            raise ValueError("view.world_to_camera: has NaN or infinite entries")
        if not (intrinsics.isfinite().all() and (intrinsics[..., :2] > 0).all()):
            expected = "expected finite fx > 0, fy > 0, cx, cy"
            raise ValueError(f"view.intrinsics: {expected}, got {intrinsics.tolist()}")
    return Splats(*fields), View(camera, intrinsics, *view[2:]), background, means2d


def _check_numbers(splats: Splats, view: View) -> None:
    """Check which tensors there are, and what is no tensor."""
    _, _, scales, rotations, sh, colors, cov3d = splats
    width, height, near = view.width, view.height, view.near
    if (sh is None) == (colors is None):
        raise _not_one("splats.sh, splats.colors", sh)
    if (scales is None) == (cov3d is None):
        raise _not_one("splats.scales, splats.cov3d", scales)
    if (scales is None) != (rotations is None):
        raise ValueError("splats.rotations: must be given with splats.scales, and only then")
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"view.width: expected a positive int, got {width!r}")
    if not isinstance(height, int) or height < 1:
        raise ValueError(f"view.height: expected a positive int, got {height!r}")
    if not near > 0:
        raise ValueError(f"view.near: expected a positive distance, got {near!r}")


def _expected_shapes(
    splats: Splats, batch: tuple[int, ...], means2d: Tensor | None
) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of _NAMES; of the Gaussians' tensors those of a set that all views share."""
    means, opacities, _, _, sh, _, _ = splats
    num = means.shape[-2] if means.ndim > 1 else 0
    if batch == (0,):
        raise ValueError("view.world_to_camera: expected at least one view, got [0, 4, 4]")
    bases = sh.shape[-2] if isinstance(sh, Tensor) and sh.ndim > 2 else 0
    if sh is not None and bases not in SH_BASES:
        raise ValueError(f"splats.sh: expected [{num}, 1 | 4 | 9 | 16, 3], got {_describe(sh)}")
    column = isinstance(opacities, Tensor) and opacities.shape[-2:] == (num, 1)
    wide = isinstance(means2d, Tensor) and means2d.shape[-1:] == (3,)
    return (
        *((num, 3), (num, 1) if column else (num,), (num, 3), (num, 4), (num, bases, 3), (num, 3), (num, 6)),
        *((*batch, 4, 4), (*batch, 4), (3,), (*batch, num, 3 if wide else 2)),
    )


def _are_alike(tensors: Sequence[Tensor | None], shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether there is nothing to adapt or to complain of in tensors of one CUDA device; in doubt, no.

    The host is what counts there at 10,000 Gaussians: _adapted takes another 6 us.
    """
    dtype, index = tensors[0].dtype, tensors[0].get_device()
    try:
        for tensor, shape in zip(tensors, shapes):
            if tensor is None:
                continue
            if tensor.shape != shape or tensor.dtype is not dtype or tensor.get_device() != index:
                return False
    except AttributeError:
        # Not a tensor.
        return False
    return True


def _adapted(
    tensors: Sequence[Tensor | None], shapes: Sequence[tuple[int, ...]], batch: tuple[int, ...]
) -> list[Tensor | None]:
    """Return the tensors in the dtype of the first, or say which is wrong.

    Where one of the Gaussians' tensors has a leading B, the others are given it.
    """
    num = len(Splats._fields)
    has_batch = [isinstance(t, Tensor) and t.ndim > len(s) for t, s in zip(tensors[:num], shapes)]
    sets = batch if any(has_batch) else ()
    adapted = []
    for k, (name, tensor, shape) in enumerate(zip(_NAMES, tensors, shapes)):
        if tensor is not None:
            own = batch if k < num and has_batch[k] else ()
            tensor = _like(tensors[0], name, tensor, (*own, *shape))
            if k < num and sets and not own:
                tensor = tensor.expand(*sets, *shape)
        adapted.append(tensor)
    return adapted


def _like(first: Tensor, name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of this shape in the dtype of the first, or say what is wrong with it."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise TypeError(f"{name}: expected a floating-point tensor, got {_describe(tensor)}")
    if tensor.shape != shape:
        raise ValueError(f"{name}: expected shape {list(shape)}, got {list(tensor.shape)}")
    if tensor.device != first.device:
        raise ValueError(f"{name}: is on {tensor.device}, but splats.means is on {first.device}")
    return tensor.to(first.dtype)


def _one_view(splats: Splats, view: View, k: int) -> tuple[Splats, View]:
    if splats.means.ndim == 3:
        splats = Splats(*(None if t is None else t[k] for t in splats))
    return splats, view._replace(world_to_camera=view.world_to_camera[k], intrinsics=view.intrinsics[k])


def _not_one(names: str, first: Tensor | None) -> ValueError:
    return ValueError(f"{names}: expected exactly one of them, got {'neither' if first is None else 'both'}")


def _describe(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
