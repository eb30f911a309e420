"""The CPU back-end: float32 images by numba kernels, parallel over Gaussians and tiles, analytic gradients.

Results depend neither on the number of threads nor on the run. Rendering from several threads, or in a forked
process, is safe.
"""

import numpy as np
import torch
from torch import Tensor

from ..types import Rasterization, Splats, View
from .blending import Images, blend_backward, blend_forward
from .compilation import compile_ahead, noticed
from .geometry import (
    BLOCK,
    DEPTH,
    RECORD,
    ROW,
    SHAPES_IF_ABSENT,
    Blended,
    Camera,
    InputGradients,
    project_backward,
    project_forward,
)
from .threads import run_blocks
from .tiles import bin_splats, depth_order

__all__ = ["compile_ahead", "draw_order", "rasterize"]


def rasterize(splats: Splats, view: View, background: Tensor, means2d: Tensor | None = None) -> Rasterization:
    """Draw checked input; anything but float32 is converted on the way in and back on the way out."""
    dtype = splats.means.dtype
    tensors = [None if t is None else t.float() for t in (*splats, means2d, background)]
    # The camera goes in as float64: its rounding would move every Gaussian.
    camera = view.world_to_camera.double(), view.intrinsics.double()
    *images, radii = _Rasterize.apply(*tensors, *camera, *view[2:])
    return Rasterization(*(t.to(dtype) for t in images), radii)


def draw_order(splats: Splats, view: View) -> Tensor:
    """Return the indices of the drawn Gaussians from front to back, in this back-end's order (int64 [M])."""
    return torch.from_numpy(depth_order(*_project(_arrays(splats), _camera(view)))).long()


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        splats, (means2d, background), view = Splats(*inputs[:7]), inputs[7:9], View(*inputs[9:])
        camera, width, height = _camera(view), view.width, view.height
        outputs = torch.empty(3, height, width), torch.empty(height, width), torch.empty(height, width)
        with noticed("forward"):
            records, radii = _project(_arrays(splats), camera)
            lists = bin_splats(records, depth_order(records, radii), width, height)
            if camera.inverse_depth:
                with np.errstate(all="ignore"):
                    # What is blended; the order is made. Rows of what is not drawn hold anything.
                    np.reciprocal(records[:, DEPTH], out=records[:, DEPTH])
            images = Images(*map(_array, outputs))
            num_tiles = len(lists.tile_starts) - 1
            run_blocks(blend_forward, num_tiles, records, lists, _array(background), images)
        radii = torch.from_numpy(radii)
        ctx.mark_non_differentiable(radii)
        ctx.set_materialize_grads(False)
        if any(ctx.needs_input_grad):
            ctx.absent = [name for name, t in splats._asdict().items() if t is None]
            ctx.save_for_backward(*(t for t in splats if t is not None), *outputs)
            ctx.columns = 2 if means2d is None else means2d.shape[1]
            ctx.saved = camera, records, lists
        return *outputs, radii

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *v_outputs):
        *present, image, depth, alpha = ctx.saved_tensors
        present = iter(present)
        splats = Splats(*(None if name in ctx.absent else next(present) for name in Splats._fields))
        camera, records, lists = ctx.saved
        num, num_blocks, num_tiles = len(records), -(-len(records) // BLOCK), len(lists.tile_starts) - 1
        inputs = *Splats._fields, "means2d", "background", "world_to_camera", "intrinsics"
        needs = dict(zip(inputs, ctx.needs_input_grad))

        arrays, blended = (
            _arrays(splats),
            Blended(records, lists.row_starts, np.empty((len(lists.rows), ROW), np.float32)),
        )
        v_inputs = InputGradients(
            _unfilled_gradients(arrays, needs),
            np.zeros((num if needs["means2d"] else 0, ctx.columns), np.float32),
            np.empty((num_blocks, 16)),
        )
        images = Images(_array(image), _array(depth), _array(alpha))
        v_images = Images(
            *(np.zeros(i.shape, np.float32) if v is None else _array(v) for i, v in zip(images, v_outputs))
        )
        with noticed("backward"):
            run_blocks(blend_backward, num_tiles, records, lists, images, v_images, blended.v_rows)
            run_blocks(project_backward, num_blocks, arrays, camera, blended, v_inputs)

        v_background = torch.zeros(3)
        if needs["background"] and v_outputs[0] is not None:
            v_background = (v_outputs[0] * (1 - alpha)).sum((1, 2))
        v_splats = map(torch.from_numpy, v_inputs.splats)
        v_camera = _camera_gradients(v_inputs.camera)
        gradients = *v_splats, torch.from_numpy(v_inputs.means2d), v_background, *v_camera
        gradients = [g if needed else None for g, needed in zip(gradients, needs.values())]
        return *gradients, *(None,) * (len(ctx.needs_input_grad) - len(gradients))


def _unfilled_gradients(splats: Splats, needs: dict[str, bool]) -> Splats:
    """Return arrays for the gradients of Gaussians, of length 0 where they are not wanted (geometry.py)."""

    def unfilled(name: str, array: np.ndarray) -> np.ndarray:
        wanted = needs[name] or name in ("means", "opacities")
        return np.empty(array.shape if wanted else (0, *array.shape[1:]), np.float32)

    return Splats(*map(unfilled, Splats._fields, splats))


def _camera_gradients(shares: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the gradients of world_to_camera and intrinsics from the blocks' shares [blocks, 16]."""
    v_camera = torch.from_numpy(shares.sum(0))
    v_world_to_camera = torch.zeros(4, 4, dtype=torch.float64)
    v_world_to_camera[:3, :3] = v_camera[:9].view(3, 3)
    v_world_to_camera[:3, 3] = v_camera[9:12]
    return v_world_to_camera, v_camera[12:]


def _project(splats: Splats, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    num = splats.means.shape[0]
    records, radii = np.empty((num, RECORD)), np.empty(num, np.int32)
    run_blocks(project_forward, -(-num // BLOCK), splats, camera, records, radii)
    return records, radii


def _camera(view: View) -> Camera:
    rows = view.world_to_camera.tolist()
    rotation, translation = tuple(tuple(row[:3]) for row in rows[:3]), tuple(row[3] for row in rows[:3])
    size, near = (view.width, view.height), float(view.near)
    flags = bool(view.antialiased), bool(view.inverse_depth)
    return Camera(rotation, translation, *view.intrinsics.tolist(), *size, near, *flags)


def _arrays(splats: Splats) -> Splats:
    """Return arrays in place of tensors, of length 0 in place of None."""
    pairs = zip(splats, SHAPES_IF_ABSENT)
    return Splats(*(np.zeros(s, np.float32) if t is None else _array(t) for t, s in pairs))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
