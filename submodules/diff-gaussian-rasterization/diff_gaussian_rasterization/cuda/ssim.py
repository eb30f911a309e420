"""Mean SSIM of float32 images and its gradient, by kernels/ssim.cu: two launches forward, one backward.

What a training loss needs in every iteration: nothing waits for the device, so that it can be captured in a
CUDA graph, and no sum is in varying order, so that value and gradient are the same bit for bit.
"""

import functools
import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from . import compiler
from .driver import Kernel, Library, current_stream

__all__ = ["ssim"]

# ssim.cu has it, too.
WINDOW_RADIUS = 5
WINDOW_SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2
# Pixels of a block, and of a thread.
TILE = {"TILE_WIDTH": 32, "TILE_HEIGHT": 16, "STRIP": 4}


def ssim(image: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity of each image [..., C, H, W], mean over channels and pixels; [...].

    Wang et al. 2004, with an 11 x 11 Gaussian window of sigma 1.5, zero padding and range 1; does not clamp.
    Both images are float32, on the same CUDA device, where `cuda.is_available`. Differentiable once, with
    respect to both. Raises ValueError where the images are something else.
    """
    _check_pair(image, truth)
    index = image.get_device()
    if index != torch._C._cuda_getDevice():
        with torch.cuda.device(index):
            return _Ssim.apply(image, truth)
    return _Ssim.apply(image, truth)


class _Kernels(NamedTuple):
    forward: Kernel
    mean: Kernel
    backward: Kernel


@functools.cache
def _kernels(index: int) -> _Kernels:
    """Return the kernels on a device, which is the current one; compiles at the first use."""
    library = Library(compiler.machine_code("ssim.cu", torch.cuda.get_device_capability(index), TILE), index)
    threads = TILE["TILE_WIDTH"] * TILE["TILE_HEIGHT"] // TILE["STRIP"]
    weights = f"{len(_WINDOW)}f"
    return _Kernels(
        # x, y, by_mean_x, by_mean_y, by_square, by_product, block_sums, width, height, c1, c2, window
        Kernel(library, "ssim_forward", f"7P2i2f{weights}0P", threads),
        # block_sums, means, num, scale
        Kernel(library, "ssim_mean", "2Pif0P", threads),
        # own, other, by_own_mean, by_square, by_product, v_means, v_own, sizes, channels, scale, window
        Kernel(library, "ssim_backward", f"7P3if{weights}0P", threads),
    )


class _Ssim(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, truth: Tensor) -> Tensor:
        batch, (channels, height, width) = image.shape[:-3], image.shape[-3:]
        image, truth = image.contiguous(), truth.contiguous()
        needs = ctx.needs_input_grad
        means, images = image.new_empty(batch), batch.numel()
        maps = image.new_empty(2 + sum(needs), *image.shape) if any(needs) else None
        # Of an image.
        tiles = channels * -(-width // TILE["TILE_WIDTH"]) * -(-height // TILE["TILE_HEIGHT"])
        if images:
            index = image.get_device()
            kernels, stream = _kernels(index), current_stream(index)
            block_sums = image.new_empty(images * tiles)
            sums = block_sums.data_ptr()
            pointers = image.data_ptr(), truth.data_ptr(), *_map_pointers(maps, needs), sums
            arguments = *pointers, width, height, C1, C2, *_WINDOW
            kernels.forward.launch((images * tiles, 1), stream, arguments)
            scale = 1 / (channels * height * width)
            kernels.mean.launch((images, 1), stream, (sums, means.data_ptr(), tiles, scale))
        if any(needs):
            ctx.save_for_backward(image, truth, maps)
            ctx.blocks = images * tiles
        return means

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, v_means: Tensor) -> tuple[Tensor | None, Tensor | None]:
        image, truth, maps = ctx.saved_tensors
        v_means = v_means.contiguous()
        by_mean_image, by_mean_truth, *by_others = _map_pointers(maps, ctx.needs_input_grad)

        def pull_back(own: Tensor, other: Tensor, by_own_mean: int) -> Tensor:
            v_own = torch.empty_like(own)
            if ctx.blocks:
                channels, height, width = own.shape[-3:]
                pointers = own.data_ptr(), other.data_ptr(), by_own_mean, *by_others
                pointers += v_means.data_ptr(), v_own.data_ptr()
                sizes = width, height, channels, 1 / (channels * height * width)
                index = own.get_device()
                launch = _kernels(index).backward.launch
                launch((ctx.blocks, 1), current_stream(index), (*pointers, *sizes, *_WINDOW))
            return v_own

        return (
            pull_back(image, truth, by_mean_image) if ctx.needs_input_grad[0] else None,
            pull_back(truth, image, by_mean_truth) if ctx.needs_input_grad[1] else None,
        )


def _map_pointers(maps: Tensor | None, needs: tuple[bool, bool]) -> list[int]:
    """Return where dS / d (mean of image, mean of truth, square, product) lie; 0: not wanted."""
    if maps is None:
        return [0] * 4
    addresses = itertools.count(maps.data_ptr(), maps.element_size() * (maps.numel() // maps.shape[0]))
    return [next(addresses) if wanted else 0 for wanted in (*needs, True, True)]


def _window() -> list[float]:
    """Return the window's weights from its centre outwards."""
    half = [math.exp(-(offset**2) / (2 * WINDOW_SIGMA**2)) for offset in range(WINDOW_RADIUS + 1)]
    total = 2 * sum(half) - half[0]
    return [weight / total for weight in half]


_WINDOW = _window()


def _check_pair(image: Tensor, truth: Tensor) -> None:
    for name, tensor in {"image": image, "truth": truth}.items():
        if tensor.dtype is not torch.float32 or not tensor.is_cuda:
            raise ValueError(
                f"{name}: expected float32 on a CUDA device, got {tensor.dtype} on {tensor.device}"
            )
    if image.shape != truth.shape or image.device != truth.device:
        raise ValueError(
            f"truth: expected {list(image.shape)} on {image.device} as image, "
            f"got {list(truth.shape)} on {truth.device}"
        )
    if image.dim() < 3 or not all(image.shape[-3:]):
        raise ValueError(f"image: expected [..., C, H, W], none of C, H, W 0, got {list(image.shape)}")
