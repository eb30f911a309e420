"""The launches of a rendering: how large everything is, and what each kernel is given.

A plan is what does not change between calls of the same shapes, and is kept; addresses come anew with every
call. A rendering has one piece of memory for itself, the workspace: tile_counts [B, T] int32, splats
[B, N, 12], lists [B, T, capacity] int64, orders of the same shape, int32; and, where a backward pass may
follow, its rows of sums [B, N, 12], which project_forward clears and project_backward leaves clear.
"""

import functools
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from ..types import Splats, View
from .device import LONGEST_SORT, PROJECT_THREADS, TILE, Device, ProjectionKind, device_of
from .driver import clear, current_stream

Arguments = tuple[int | float, ...]
MAX_PLANS = 64


def plan_of(splats: Splats, view: View) -> "Plan":
    """Return the plan of a call, made at the first call of its shapes and of the lists' present length."""
    means, sh, camera = splats.means, splats.sh, view.world_to_camera
    device = device_of(means.get_device())
    bases = 0 if sh is None else sh.shape[-2]
    kind = bases, splats.scales is None, view.antialiased, view.inverse_depth
    return _plan(device, device.least_capacity(), kind, means.shape, camera.shape, view.width, view.height)


class Plan:
    """Sizes and launches of every rendering of N Gaussians, B views, and so many pixels."""

    def __init__(
        self,
        device: Device,
        _: int,  # the device's least capacity: where it is another, so is the plan
        kind: tuple[int, bool, bool, bool],  # a ProjectionKind, whose making would cost every call
        means: tuple[int, ...],  # shapes
        world_to_camera: tuple[int, ...],
        width: int,
        height: int,
    ):
        self.device, self.index, self.num = device, device.index, means[-2]
        self.batch, self.per_view = world_to_camera[:-2], len(means) == 3  # () or (B,)
        self.views = views = self.batch[0] if self.batch else 1
        self.width, self.height = width, height
        self._project_forward, self._project_backward = device.project(ProjectionKind(*kind))
        self._blend_forward, self._blend_backward = device.blend(bool(kind[3]))

        tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
        self.capacity = capacity = device.capacity(self.num, tiles_x * tiles_y, views)
        self._num_tiles = tiles_x * tiles_y * views
        self._splats_at = -(-4 * self._num_tiles // 16) * 16
        self._lists_at = self._splats_at + 48 * views * self.num
        self._orders_at = self._lists_at + 8 * self._num_tiles * capacity
        self.size = self._rows_at = self._orders_at + 4 * self._num_tiles * capacity
        self.size_with_rows = self._rows_at + 48 * views * self.num

        self._project_sizes = self.num, self.per_view, tiles_x, tiles_y, capacity
        self._blend_sizes = self.num, tiles_x, tiles_y, capacity, width, height
        self._sort_capacity = min(capacity, LONGEST_SORT)
        self._sort_bytes = device.sort_bytes(self._sort_capacity)
        groups = -(-self.num // PROJECT_THREADS)
        self._grids = (groups, views), (tiles_x * tiles_y, views)
        self._backward_grids = (
            (tiles_x * tiles_y * device.backward_blocks_per_tile, views),
            (groups, views if self.per_view else 1),
        )

    def head(
        self, splats: Sequence[Tensor | None], world_to_camera: Tensor, intrinsics: Tensor, near: float
    ) -> Arguments:
        """Return what both kernels of projection begin with: the structs of Gaussians and camera."""
        return (
            *[0 if t is None else t.data_ptr() for t in splats],
            world_to_camera.data_ptr(),
            intrinsics.data_ptr(),
            *((0, *world_to_camera.stride())[-3:]),
            self.width,
            self.height,
            near,
        )

    def splats_in(self, workspace: Tensor) -> Tensor:
        """Return the splats [B * N, 12] in a workspace (store_splat in device.cuh)."""
        return workspace[self._splats_at : self._lists_at].view(torch.float32).view(-1, 12)

    def project(self, head: Arguments, radii: Tensor, workspace: Tensor) -> None:
        """Fill radii and, in a workspace (with rows if a backward pass may follow), the tiles' lists."""
        stream, start = current_stream(self.index), workspace.data_ptr()
        clear(start, self._num_tiles, stream, self.index)
        if self.num:
            splats, lists = start + self._splats_at, start + self._lists_at
            rows = start + self._rows_at if workspace.numel() > self.size else 0
            arguments = *head, splats, radii.data_ptr(), start, lists, rows, *self._project_sizes
            self._project_forward.launch(self._grids[0], stream, arguments)

    def blend(
        self,
        images: Sequence[Tensor],  # image, depth, alpha
        radii: Tensor,  # this and the workspace: as `project` has filled them
        background: Tensor | None,
        workspace: Tensor,
    ) -> None:
        """Fill the images, and sort the lists on the way."""
        device, start, (image, depth, alpha) = self.device, workspace.data_ptr(), images
        splats, lists, orders = (start + at for at in (self._splats_at, self._lists_at, self._orders_at))
        arguments = (
            *(splats, radii.data_ptr(), start, lists, orders, *self._blend_sizes),
            *(image.data_ptr(), depth.data_ptr(), alpha.data_ptr()),
            0 if background is None else background.data_ptr(),
            device.overflow_pointer,
            self._sort_capacity,
        )
        self._blend_forward.launch(self._grids[1], current_stream(self.index), arguments, self._sort_bytes)

    def backward(
        self,
        head: Arguments,
        images: Sequence[Tensor],  # these, radii and workspace: as `project` and `blend` have filled them
        radii: Tensor,
        workspace: Tensor,
        v_images: Sequence[Tensor | None],
        v_inputs: Sequence[Tensor | None],  # of splats, means2d, and the camera: [B, 16], zero (project.cu)
    ) -> None:
        """Fill those gradients of the inputs that are not None."""
        if not self.num:
            return
        stream, v_means2d = current_stream(self.index), v_inputs[7]
        blend_grid, project_grid = self._backward_grids
        start, drawn = workspace.data_ptr(), radii.data_ptr()
        rows = start + self._rows_at
        blend_arguments = (
            *(start + self._splats_at, drawn, start, start + self._lists_at, start + self._orders_at),
            *self._blend_sizes,
            *[0 if t is None else t.data_ptr() for t in (*images, *v_images)],
            rows,
        )
        project_arguments = (
            *(*head, drawn, rows),
            *[0 if t is None else t.data_ptr() for t in v_inputs],
            *(self.num, self.views, self.per_view),
            0 if v_means2d is None else v_means2d.shape[-1],
        )
        with _rows_in_use:
            self._blend_backward.launch(blend_grid, stream, blend_arguments)
            self._project_backward.launch(project_grid, stream, project_arguments)


_plan = functools.lru_cache(MAX_PLANS)(Plan)
# Several threads may go back through the same graph, on the same stream.
_rows_in_use = threading.Lock()
