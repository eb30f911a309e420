"""The training loss: (1 - l) L1 + l (1 - SSIM) + v VGG (Eq. 7 of Kerbl et al. 2023, with a perceptual
term)."""

import functools

import torch
from torch import Tensor, nn

from arguments import OptimizationParams
from diff_gaussian_rasterization import cuda
from diff_gaussian_rasterization.cuda.ssim import ssim as fused_ssim
from scene.views import SideView
from utils.losses import VggPerceptual, l1_loss, ssim_loss


class TrainingLoss(nn.Module):
    """Callable on render and truth [3, H, W]; `notice` says in one line why the perceptual term is off, if it
    is."""

    def __init__(self, params: OptimizationParams) -> None:
        super().__init__()
        self.lambda_dssim = params.lambda_dssim
        self.lambda_vgg = params.lambda_vgg
        self.notice = ""
        self.perceptual = None
        if params.lambda_vgg > 0 and params.vgg_weights is not None:
            self.perceptual = VggPerceptual(params.vgg_weights)
        elif params.lambda_vgg > 0:
            self.notice = (
                "the perceptual loss is off: --lambda_vgg needs the VGG-16 weights (--vgg_weights FILE)"
            )

    def forward(self, image: Tensor, truth: Tensor) -> Tensor:
        loss = (1 - self.lambda_dssim) * l1_loss(image, truth) + self.lambda_dssim * _ssim_loss(image, truth)
        if self.perceptual is not None:
            loss = loss + self.lambda_vgg * self.perceptual(image, truth)
        return loss


def outside_loss(alpha: Tensor, side: SideView) -> Tensor:
    """Mean over all pixels of the alpha [H, W] that a side view sees where nobody can be."""
    return (alpha * side.outside).mean()


def _ssim_loss(image: Tensor, truth: Tensor) -> Tensor:
    """1 - mean SSIM, by the rasterizer package's kernels where they can run: utils.losses, but faster."""
    if image.dtype is truth.dtype is torch.float32 and _has_kernels(image.device):
        return 1 - fused_ssim(image, truth).mean()
    return ssim_loss(image, truth)


_has_kernels = functools.cache(cuda.is_available)
