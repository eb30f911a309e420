"""The CUDA back-end: float32 images by our own kernels, compiled at first use; analytic gradients.

Four kernels and two fills: project_forward, blend_forward; blend_backward, project_backward (kernels/, where
the files say how they work). Nothing waits for the device, so that all of it can be captured in a CUDA graph.
This file is the path between PyTorch and the kernels: at 10,000 Gaussians the host's time is what counts, so
it does little: one workspace, no operations of PyTorch but `empty`, arguments packed as plain numbers.

Images are the same bit for bit from run to run; gradients are sums in no fixed order, and differ in their
last digits.
"""

import torch
from torch import Tensor

from ..types import Rasterization, Splats, View
from . import compiler
from .device import LONGEST_SORT, PROJECT_THREADS, TILE, device_of
from .driver import clear, current_stream

__all__ = ["draw_order", "family_view", "is_available", "rasterize"]


def is_available(device: torch.device) -> bool:
    """Return whether this can draw on a device: `cuda-core` is installed and the GPU is new enough."""
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    return compiler.is_installed() and torch.cuda.get_device_capability(device) >= compiler.LEAST_CAPABILITY


def rasterize(
    splats: Splats, view: View, background: Tensor | None, means2d: Tensor | None = None
) -> Rasterization:
    """Draw checked input; anything but float32 is converted on the way in and back on the way out."""
    dtype = splats.means.dtype
    if dtype is not torch.float32:
        splats, view = Splats(*map(_single, splats)), view._replace(**_single_camera(view))
        result = rasterize(splats, view, _single(background), _single(means2d))
        return Rasterization(*(t.to(dtype) for t in result[:3]), result.radii)
    index = splats.means.get_device()
    if index != torch._C._cuda_getDevice():
        with torch.cuda.device(index):
            return rasterize(splats, view, background, means2d)
    return Rasterization(*_Rasterize.apply(*splats, means2d, background, *view))


def draw_order(splats: Splats, view: View) -> Tensor:
    """Return the indices of one view's drawn Gaussians from front to back, in this back-end's order."""
    with torch.no_grad():
        call = _Call(splats, view)
        splats = [None if t is None else _aligned(t) for t in splats]
        radii = splats[0].new_empty(call.num, dtype=torch.int32)
        workspace = splats[0].new_empty(call.size // 4)
        call.bind(splats, view.world_to_camera, _contiguous(view.intrinsics), radii, workspace)
        pixels = splats[0].new_empty(5, view.height, view.width)
        call.forward(None, pixels[:3], pixels[3], pixels[4])
        first = call.splats_at // 4
        depths = workspace[first : first + 12 * call.num].view(-1, 12)[:, 11]
        return torch.argsort(torch.where(radii > 0, depths, torch.inf), stable=True)[: (radii > 0).sum()]


def family_view(viewmatrix: Tensor, projmatrix: Tensor, width: int, height: int) -> View:
    """Return the camera of the family's two float32 matrices [4, 4]; no gradient passes to them."""
    index = viewmatrix.get_device()
    viewmatrix, projmatrix = _contiguous(viewmatrix), _contiguous(projmatrix)
    intrinsics = viewmatrix.new_empty(4)
    with torch.cuda.device(index):
        arguments = viewmatrix.data_ptr(), projmatrix.data_ptr(), intrinsics.data_ptr(), width, height
        device_of(index).family_intrinsics.launch((1, 1), current_stream(index), arguments)
    return View(viewmatrix.T, intrinsics, width, height)


class _Call:
    """One rendering: its sizes, and where what the kernels read and write lies.

    Workspace: tile_counts [B, T] int32, splats [B, N, 12], lists [B, T, capacity] int64, orders of the same
    shape, int32.
    """

    def __init__(self, splats: Splats, view: View):
        means, sh = splats.means, splats.sh
        self.num, self.width, self.height, self.near = means.shape[-2], *view[2:]
        self.batch = view.world_to_camera.shape[:-2]  # () or (B,)
        self.views = self.batch[0] if self.batch else 1
        self.per_view = means.ndim == 3
        self.tiles_x, self.tiles_y = -(-view.width // TILE), -(-view.height // TILE)
        self.index = means.get_device()
        self.device = device_of(self.index)
        self.project = self.device.project(0 if sh is None else sh.shape[-2], splats.scales is None)

        num_tiles = self.tiles_x * self.tiles_y
        self.capacity = self.device.capacity(self.num, num_tiles, self.views)
        self.num_tiles = num_tiles * self.views
        self.splats_at = -(-4 * self.num_tiles // 16) * 16
        self.lists_at = self.splats_at + 48 * self.views * self.num
        self.orders_at = self.lists_at + 8 * self.num_tiles * self.capacity
        self.size = self.orders_at + 4 * self.num_tiles * self.capacity

    def bind(self, splats, world_to_camera: Tensor, intrinsics: Tensor, radii: Tensor, workspace: Tensor):
        """Note where everything lies: the kernels' struct TileLists, and the head of those of projection."""
        start = workspace.data_ptr()
        self.counts = start
        self.inputs = (
            *map(_pointer, splats),
            world_to_camera.data_ptr(),
            intrinsics.data_ptr(),
            *((0, *world_to_camera.stride())[-3:]),
            self.width,
            self.height,
            self.near,
        )
        self.tiles = (
            start + self.splats_at,
            radii.data_ptr(),
            start,
            start + self.lists_at,
            start + self.orders_at,
            self.num,
            self.tiles_x,
            self.tiles_y,
            self.capacity,
            self.width,
            self.height,
        )

    def forward(self, background: Tensor | None, image: Tensor, depth: Tensor, alpha: Tensor) -> None:
        """Draw into image, depth and alpha, and fill the radii and the workspace."""
        splats, radii, counts, lists = self.tiles[:4]
        stream = current_stream(self.index)
        clear(counts, self.num_tiles, stream, self.index)
        if self.num:
            sizes = self.num, self.per_view, self.tiles_x, self.tiles_y, self.capacity
            arguments = *self.inputs, splats, radii, counts, lists, *sizes
            self.project[0].launch((-(-self.num // PROJECT_THREADS), self.views), stream, arguments)
        sort_capacity = min(self.capacity, LONGEST_SORT)
        arguments = (
            *self.tiles,
            image.data_ptr(),
            depth.data_ptr(),
            alpha.data_ptr(),
            _pointer(background),
            self.device.overflow_pointer,
            sort_capacity,
        )
        grid, shared = (self.tiles_x * self.tiles_y, self.views), self.device.sort_bytes(sort_capacity)
        self.device.blend_forward.launch(grid, stream, arguments, shared)

    def backward(self, images, v_images, v_splats, v_means2d: Tensor | None, needs_camera: bool) -> Tensor:
        """Fill the gradients that are wanted; return the camera's [B, 16], if needed (see project.cu)."""
        num_rows = self.views * self.num
        sums = images[0].new_empty(12 * num_rows + 16 * self.views)
        rows = sums.data_ptr()
        stream = current_stream(self.index)
        clear(rows, sums.numel(), stream, self.index)
        if self.num:
            blocks = self.tiles_x * self.tiles_y * self.device.backward_blocks_per_tile
            arguments = *self.tiles, *map(_pointer, images), *map(_pointer, v_images), rows
            self.device.blend_backward.launch((blocks, self.views), stream, arguments)
            arguments = (
                *self.inputs,
                self.tiles[1],
                rows,
                *map(_pointer, v_splats),
                _pointer(v_means2d),
                rows + 48 * num_rows if needs_camera else 0,
                self.num,
                self.views,
                self.per_view,
                0 if v_means2d is None else v_means2d.shape[-1],
            )
            grid = -(-self.num // PROJECT_THREADS), self.views if self.per_view else 1
            self.project[1].launch(grid, stream, arguments)
        return sums[12 * num_rows :].view(-1, 16) if needs_camera else sums


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        *splats, means2d, background, world_to_camera, intrinsics, width, height, near = inputs
        call = _Call(Splats(*splats), View(world_to_camera, intrinsics, width, height, near))
        splats = [None if t is None else _aligned(t) for t in splats]
        intrinsics = _contiguous(intrinsics)
        new, batch = intrinsics.new_empty, call.batch
        image = new((*batch, 3, height, width))
        depth, alpha = new((*batch, height, width)), new((*batch, height, width))
        radii, workspace = new((*batch, call.num), dtype=torch.int32), new(call.size, dtype=torch.uint8)
        saved = *splats, world_to_camera, intrinsics, radii, workspace
        call.bind(splats, *saved[7:])
        call.forward(None if background is None else _contiguous(background), image, depth, alpha)
        ctx.mark_non_differentiable(radii)
        ctx.set_materialize_grads(False)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*saved, image, depth, alpha)
            ctx.call, ctx.means2d_shape = call, None if means2d is None else means2d.shape
        return image, depth, alpha, radii

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *v_outputs):
        saved, call, needs = ctx.saved_tensors, ctx.call, ctx.needs_input_grad
        splats, (world_to_camera, intrinsics, radii, workspace), images = saved[:7], saved[7:11], saved[11:]
        if workspace.numel() != call.size:  # activation checkpointing, and the lists have grown since
            raise RuntimeError("diff_gaussian_rasterization: the recomputed forward differs from the first")
        # Addresses anew: what is saved may have been recomputed, or moved away and back.
        call.bind(splats, world_to_camera, intrinsics, radii, workspace)
        v_images = [None if v is None else _contiguous(v) for v in v_outputs[:3]]
        v_splats = [torch.empty_like(t) if need else None for t, need in zip(splats, needs)]
        v_means2d = intrinsics.new_empty(ctx.means2d_shape) if needs[7] else None
        v_camera = call.backward(images, v_images, v_splats, v_means2d, needs[9] or needs[10])

        v_background = v_world_to_camera = v_intrinsics = None
        if needs[8]:
            v_background = intrinsics.new_zeros(3)
            if v_images[0] is not None:
                through = (1 - images[2]).unsqueeze(-3)
                v_background = (v_images[0] * through).sum((-2, -1)).view(-1, 3).sum(0)
        if needs[9]:
            v_world_to_camera = world_to_camera.new_zeros(call.views, 4, 4)
            v_world_to_camera[:, :3, :3] = v_camera[:, :9].view(-1, 3, 3)
            v_world_to_camera[:, :3, 3] = v_camera[:, 9:12]
            v_world_to_camera = v_world_to_camera.view(world_to_camera.shape)
        if needs[10]:
            v_intrinsics = v_camera[:, 12:].reshape(intrinsics.shape)
        return *v_splats, v_means2d, v_background, v_world_to_camera, v_intrinsics, None, None, None


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _contiguous(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _aligned(tensor: Tensor) -> Tensor:
    """Contiguous, and at an address from which kernels can read vectors of four."""
    tensor = _contiguous(tensor)
    return tensor.clone() if tensor.data_ptr() & 15 else tensor


def _single(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float()


def _single_camera(view: View) -> dict[str, Tensor]:
    return {"world_to_camera": view.world_to_camera.float(), "intrinsics": view.intrinsics.float()}
