"""The CUDA back-end: float32 images by our own kernels, compiled at first use; analytic gradients.

Four kernels and a fill: project_forward, blend_forward; blend_backward, project_backward (kernels/, where the
files say how they work). Nothing waits for the device, so that all of it can be captured in a CUDA graph.
This file and plan.py are the path between PyTorch and the kernels: at 10,000 Gaussians the host's time is
what counts, so they do little: one workspace, no operations of PyTorch but `empty`, sizes worked out once,
arguments packed as plain numbers, and a node in autograd's graph only where there can be gradients.

Images are the same bit for bit from run to run; gradients are sums in no fixed order, and differ in their
last digits.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

from ..types import Rasterization, Splats, View
from . import compiler
from .device import device_of
from .driver import current_stream
from .plan import plan_of

__all__ = ["draw_order", "family_view", "is_available", "lists_are_short", "rasterize"]


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
    inputs = *splats, means2d, background, view.world_to_camera, view.intrinsics
    if _is_differentiated(inputs):
        apply = _Rasterize.apply if torch._C._are_functorch_transforms_active() else _apply
        return Rasterization(*apply(*inputs, (splats, view, background)))
    images, radii, *_ = _draw(splats, view, background, for_backward=False)
    return Rasterization(*images, radii)


def lists_are_short(device: torch.device) -> bool:
    """Return whether what was drawn lately had longer tile lists than there was room for (device.py)."""
    index = torch.cuda.current_device() if device.index is None else device.index
    return device_of(index).wants_longer_lists


def draw_order(splats: Splats, view: View) -> Tensor:
    """Return the indices of one view's drawn Gaussians from front to back, in this back-end's order."""
    with torch.no_grad():
        _, radii, plan, _, _, workspace = _draw(splats, view, None, for_backward=False)
        depths = plan.splats_in(workspace)[:, 11]
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


def _draw(splats: Splats, view: View, background: Tensor | None, for_backward: bool) -> tuple:
    """Return images (image, depth, alpha), radii, and what backward needs besides: the plan, splats and
    intrinsics as the kernels read them, the workspace."""
    plan = plan_of(splats, view)
    laid_out = [
        t if t is None or (t.is_contiguous() and not t.data_ptr() & 15) else _aligned(t) for t in splats
    ]
    intrinsics = _contiguous(view.intrinsics)
    new, batch, height, width = intrinsics.new_empty, plan.batch, view.height, view.width
    radii = new(*batch, plan.num, dtype=torch.int32)
    workspace = new(plan.size_with_rows if for_backward else plan.size, dtype=torch.uint8)
    head = plan.head(laid_out, view.world_to_camera, intrinsics, view.near)
    # The device begins; what follows costs it no time.
    plan.project(head, radii, workspace)
    images = new(*batch, 3, height, width), new(*batch, height, width), new(*batch, height, width)
    background = None if background is None else _contiguous(background)
    plan.blend(images, radii, background, workspace)
    return images, radii, plan, laid_out, intrinsics, workspace


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        splats, view, background = inputs[-1]
        images, radii, plan, splats, intrinsics, workspace = _draw(splats, view, background, True)
        ctx.mark_non_differentiable(radii)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*splats, view.world_to_camera, intrinsics, radii, workspace, *images)
        ctx.plan, ctx.near = plan, view.near
        ctx.means2d_shape = None if inputs[7] is None else inputs[7].shape
        return *images, radii

    @staticmethod
    def backward(ctx, *v_outputs):
        # With create_graph=True.
        if torch.is_grad_enabled():
            return _backward_once(ctx, *v_outputs)
        return _backward(ctx, *v_outputs)


def _backward(ctx, v_image: Tensor | None, v_depth: Tensor | None, v_alpha: Tensor | None, _) -> tuple:
    """Return the gradients of what _Rasterize is given."""
    *splats, world_to_camera, intrinsics, radii, workspace, image, depth, alpha = ctx.saved_tensors
    plan, needs = ctx.plan, ctx.needs_input_grad
    # Activation checkpointing, and the lists have grown since.
    if workspace.numel() != plan.size_with_rows:
        raise RuntimeError("diff_gaussian_rasterization: the recomputed forward differs from the first")
    v_images = [None if v is None else _contiguous(v) for v in (v_image, v_depth, v_alpha)]
    v_splats = [torch.empty_like(t) if need else None for t, need in zip(splats, needs)]
    v_means2d = intrinsics.new_empty(*ctx.means2d_shape) if needs[7] else None
    v_camera = intrinsics.new_zeros(plan.views, 16) if needs[9] or needs[10] else None
    # Addresses anew: what is saved may have been recomputed, or moved away and back.
    head = plan.head(splats, world_to_camera, intrinsics, ctx.near)
    plan.backward(head, (image, depth, alpha), radii, workspace, v_images, (*v_splats, v_means2d, v_camera))

    v_background = v_world_to_camera = v_intrinsics = None
    if needs[8]:
        v_background = intrinsics.new_zeros(3)
        if v_image is not None:
            through = (1 - alpha).unsqueeze(-3)
            v_background = (v_image * through).sum((-2, -1)).view(-1, 3).sum(0)
    if needs[9]:
        v_world_to_camera = world_to_camera.new_zeros(plan.views, 4, 4)
        v_world_to_camera[:, :3, :3] = v_camera[:, :9].view(-1, 3, 3)
        v_world_to_camera[:, :3, 3] = v_camera[:, 9:12]
        v_world_to_camera = v_world_to_camera.view(world_to_camera.shape)
    if needs[10]:
        v_intrinsics = v_camera[:, 12:].reshape(intrinsics.shape)
    return *v_splats, v_means2d, v_background, v_world_to_camera, v_intrinsics, None


# What Function.apply calls where torch.func is not at work; it would look for torch.func's wrappers first.
_apply = super(torch.autograd.Function, _Rasterize).apply
_backward_once = once_differentiable(_backward)


def _is_differentiated(inputs: tuple[Tensor | None, ...]) -> bool:
    """Whether autograd has to know; forward mode and torch.func, so that they can refuse."""
    if torch.is_grad_enabled():
        for t in inputs:
            if t is not None and t.requires_grad:
                return True
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


def _contiguous(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _aligned(tensor: Tensor) -> Tensor:
    """Contiguous, and at an address from which kernels can read vectors of four."""
    tensor = tensor.contiguous()
    return tensor.clone() if tensor.data_ptr() & 15 else tensor


def _single(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float()


def _single_camera(view: View) -> dict[str, Tensor]:
    return {"world_to_camera": view.world_to_camera.float(), "intrinsics": view.intrinsics.float()}
