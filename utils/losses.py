"""Differences between a render and the truth [..., C, H, W] that training minimises.

SSIM lives in metrics.py and rendering/picture_scores.py: the loss and the score are the same function.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.metrics import l1
from utils.vgg import Vgg16

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def l1_loss(image: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference over everything; a scalar."""
    return l1(image, truth).mean()


class VggPerceptual(nn.Module):
    """Distance between two images in the features of a 16-layer VGG (Simonyan and Zisserman 2015).

    Mean absolute difference of relu1_2, relu2_2, relu3_3 and relu4_3 (the layers of Johnson et al. 2016),
    summed. `weights_path` is the official file of torchvision's vgg16, see `utils/vgg.py`. Raises UserError
    where the file cannot be used.
    """

    def __init__(self, weights_path: str | Path) -> None:
        super().__init__()
        self.vgg = Vgg16(weights_path, num_blocks=4)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, truth: Tensor) -> Tensor:
        """Compare images [..., 3, H, W] in [0, 1], at least 8 x 8, to a scalar. `truth` gets no gradient."""
        if image.shape != truth.shape or image.shape[-3] != 3 or min(image.shape[-2:]) < 8:
            raise ValueError(
                "image and truth: expected the same shape [..., 3, H, W], H and W at least 8, "
                f"got {list(image.shape)} and {list(truth.shape)}"
            )
        with torch.no_grad():
            truth_maps = self._feature_maps(truth)
        image_maps = self._feature_maps(image)
        return torch.stack([F.l1_loss(a, b) for a, b in zip(image_maps, truth_maps, strict=True)]).sum()

    def _feature_maps(self, images: Tensor) -> list[Tensor]:
        return self.vgg((images.reshape(-1, *images.shape[-3:]) - self.mean) / self.std)
