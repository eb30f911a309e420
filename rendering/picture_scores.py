"""Scores of drawings, by the rasterizer package's SSIM kernels where they can run."""

import torch
from torch import Tensor

from diff_gaussian_rasterization import has_kernels
from diff_gaussian_rasterization.cuda.ssim import ssim as fused_ssim
from utils.metrics import Scores, l1, psnr, ssim


@torch.no_grad()
def score_pictures(image: Tensor, truth: Tensor) -> Scores:
    """`utils.metrics.score` of images [..., 3, H, W], but faster; waits for no GPU."""
    image, truth = image.clamp(0, 1), truth.clamp(0, 1)
    return Scores(l1(image, truth), psnr(image, truth), fast_ssim(image, truth))


def fast_ssim(image: Tensor, truth: Tensor) -> Tensor:
    """`utils.metrics.ssim` of images [..., C, H, W], by the kernels where they can run; [...]."""
    if image.dtype is truth.dtype is torch.float32 and has_kernels(image.device):
        return fused_ssim(image, truth)
    return ssim(image, truth)
