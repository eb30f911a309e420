"""The training loss: (1 - l) L1 + l (1 - SSIM) + v VGG (Eq. 7 of Kerbl et al. 2023, with a perceptual
term)."""

from torch import Tensor, nn

from arguments import OptimizationParams
from rendering.picture_scores import fast_ssim
from scene.views import SideView
from utils.losses import VggPerceptual, l1_loss


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
        unlike = 1 - fast_ssim(image, truth).mean()
        loss = (1 - self.lambda_dssim) * l1_loss(image, truth) + self.lambda_dssim * unlike
        if self.perceptual is not None:
            loss = loss + self.lambda_vgg * self.perceptual(image, truth)
        return loss


def outside_loss(alpha: Tensor, side: SideView) -> Tensor:
    """Mean over all pixels of the alpha [H, W] that a side view sees where nobody can be."""
    return (alpha * side.outside).mean()
