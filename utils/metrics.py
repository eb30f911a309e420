"""How well an image [..., C, H, W] agrees with the truth: L1, PSNR, SSIM, one number per image.

The family's definitions. SSIM: Wang et al. 2004, 11 x 11 Gaussian window with sigma 1.5, zero padding,
K1 = 0.01, K2 = 0.03, range 1. The SSIM of the training loss is this same function: it is differentiable, and
it is written for speed, since it runs in every iteration: the window is separable; the five moments are
blurred as one stack; the backward pass is by hand, since autograd would keep and walk every shifted copy.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

WINDOW_RADIUS = 5
WINDOW_SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2


class Scores(NamedTuple):
    """What is reported for images clamped to [0, 1]; each [...], one number per image."""

    l1: Tensor
    psnr: Tensor
    ssim: Tensor


@torch.no_grad()
def score(image: Tensor, truth: Tensor) -> Scores:
    """Score images [..., C, H, W] as the family does: L1, PSNR and SSIM of each, clamped to [0, 1]."""
    image, truth = image.clamp(0, 1), truth.clamp(0, 1)
    return Scores(l1(image, truth), psnr(image, truth), ssim(image, truth))


def l1(image: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of each image [..., C, H, W]; returns [...]."""
    _check_pair(image, truth)
    return (image - truth).abs().mean(dim=(-3, -2, -1))


def psnr(image: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image [..., C, H, W], both clamped to [0, 1]; returns [...].

    Equal images give infinity.
    """
    _check_pair(image, truth)
    squared_error = (image.clamp(0, 1) - truth.clamp(0, 1)).square().mean(dim=(-3, -2, -1))
    return -10 * torch.log10(squared_error)


def ssim(image: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each image [..., C, H, W], mean over channels and pixels; returns [...].

    Differentiable once, with respect to both images. Does not clamp.
    """
    return ssim_map(image, truth).mean(dim=(-3, -2, -1))


def ssim_map(image: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity at every pixel of images [..., C, H, W]; the same shape. Does not clamp."""
    _check_pair(image, truth)
    return _SSIMMap.apply(image, truth)


class _SSIMMap(torch.autograd.Function):
    """SSIM at every pixel (Wang et al. 2004, Eq. 13):

    S = (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sxx + syy + C2)) = luminance contrast / norm.
    """

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor) -> Tensor:
        mean_x, mean_y, xx, yy, xy = blur(torch.stack((x, y, x * x, y * y, x * y)))
        product, squares = mean_x * mean_y, mean_x.square().add_(mean_y.square())
        luminance, luminance_norm = 2 * product + C1, squares + C1
        contrast = xy.sub_(product).mul_(2).add_(C2)
        contrast_norm = xx.add_(yy).sub_(squares).add_(C2)
        norm = luminance_norm * contrast_norm
        ssim_map = luminance * contrast / norm
        ctx.save_for_backward(
            x, y, mean_x, mean_y, luminance, contrast, luminance_norm, contrast_norm, norm, ssim_map
        )
        return ssim_map

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_map: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y, mean_x, mean_y, luminance, contrast, luminance_norm, contrast_norm, norm, ssim_map = (
            ctx.saved_tensors
        )
        # With m = blur(x), e = blur(x^2), c = blur(x y) as variables (the variances are e - m^2 and so on):
        #   dS/de = -S / contrast_norm            dS/dc = 2 luminance / norm
        #   dS/dm = 2 my (contrast - luminance) / norm + 2 mx S (1 / contrast_norm - 1 / luminance_norm)
        scaled = grad_map * ssim_map
        grad_square = -scaled / contrast_norm
        grad_product = grad_map * luminance * 2 / norm
        across = grad_map * (contrast - luminance) * 2 / norm
        along = -2 * (grad_square + scaled / luminance_norm)

        def pull_back(own: Tensor, other: Tensor, own_mean: Tensor, other_mean: Tensor) -> Tensor:
            grad_mean = across * other_mean + along * own_mean
            # The blur is its own transpose: the window is symmetric and the padding is zero.
            by_mean, by_square, by_product = blur(torch.stack((grad_mean, grad_square, grad_product)))
            return by_mean.add_(by_square.mul_(own), alpha=2).add_(by_product.mul_(other))

        grad_x = pull_back(x, y, mean_x, mean_y) if ctx.needs_input_grad[0] else None
        grad_y = pull_back(y, x, mean_y, mean_x) if ctx.needs_input_grad[1] else None
        return grad_x, grad_y


def blur(maps: Tensor) -> Tensor:
    """Convolve maps [..., H, W] with the SSIM window, zero outside the image. Not differentiable.

    Shifted sums rather than conv2d: on GPUs that may round to TF32, which the variances (differences of
    nearly equal moments) do not stand, and on CPUs it is slower for one channel at a time. There, OpenCV's
    filter takes a sixth of the time of the sums, and rounds less.
    """
    weights = _window()
    if maps.device.type == "cpu" and maps.dtype == torch.float32:
        return _blurred_by_opencv(maps, weights)
    for dim in (-1, -2):
        size = maps.shape[dim]
        blurred = maps * weights[WINDOW_RADIUS]
        for offset in range(1, min(WINDOW_RADIUS, size - 1) + 1):
            weight = weights[WINDOW_RADIUS + offset]
            kept = size - offset
            blurred.narrow(dim, offset, kept).add_(maps.narrow(dim, 0, kept), alpha=weight)
            blurred.narrow(dim, 0, kept).add_(maps.narrow(dim, offset, kept), alpha=weight)
        maps = blurred
    return maps


def _blurred_by_opencv(maps: Tensor, weights: list[float]) -> Tensor:
    planes, window = maps.reshape(-1, *maps.shape[-2:]).numpy(), np.array(weights, np.float32)
    blurred = np.empty_like(planes)
    for plane, target in zip(planes, blurred, strict=True):
        cv2.sepFilter2D(plane, -1, window, window, dst=target, borderType=cv2.BORDER_CONSTANT)
    return torch.from_numpy(blurred).view(maps.shape)


def _window() -> list[float]:
    positions = range(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    weights = [math.exp(-(position**2) / (2 * WINDOW_SIGMA**2)) for position in positions]
    return [weight / sum(weights) for weight in weights]


def _check_pair(image: Tensor, truth: Tensor) -> None:
    if image.shape != truth.shape or image.dim() < 3:
        raise ValueError(
            "image and truth: expected the same shape [..., C, H, W], "
            f"got {list(image.shape)} and {list(truth.shape)}"
        )
