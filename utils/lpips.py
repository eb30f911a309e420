"""LPIPS (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"),
version 0.1 with a 16-layer VGG, from the official weights, which are not bundled or downloaded."""

from pathlib import Path

import torch
from torch import Tensor, nn

from utils.vgg import Vgg16, load_weights_

# Channels of relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3.
CHANNELS = (64, 128, 256, 512, 512)
# Four poolings make one of so many pixels.
MINIMUM_SIZE = 16
# For the channels of images in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class Lpips(nn.Module):
    """Perceptual distance of two images; smaller is better, 0 for equal images.

    vgg_weights: torchvision's vgg16. lpips_weights: `vgg.pth` of lpips 0.1, with `lin0.model.1.weight`
    [1, 64, 1, 1] to `lin4.model.1.weight`. Raises UserError where a file cannot be used.
    """

    def __init__(self, vgg_weights: str | Path, lpips_weights: str | Path) -> None:
        super().__init__()
        self.heads = nn.ParameterList(torch.empty(1, channels, 1, 1) for channels in CHANNELS)
        heads = [(f"lin{i}.model.1.weight", head) for i, head in enumerate(self.heads)]
        load_weights_("--lpips_weights", lpips_weights, heads, "vgg.pth of lpips 0.1")
        self.vgg = Vgg16(vgg_weights)
        self.requires_grad_(False)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, image: Tensor, truth: Tensor) -> Tensor:
        """Compare images [3, H, W] in [0, 1], at least 16 x 16; returns a scalar."""
        if image.shape != truth.shape or image.shape[0] != 3 or min(image.shape[-2:]) < MINIMUM_SIZE:
            raise ValueError(
                f"image and truth: expected the same shape [3, H, W], H and W at least {MINIMUM_SIZE}, "
                f"got {list(image.shape)} and {list(truth.shape)}"
            )
        pair = torch.stack((image, truth)).clamp(0, 1) * 2 - 1  # [2, 3, H, W]
        distance = image.new_zeros(())
        for head, maps in zip(self.heads, self.vgg((pair - self.shift) / self.scale), strict=True):
            unit = maps / (maps.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)  # [2, C, h, w]
            squared_difference = (unit[0] - unit[1]).square()
            distance = distance + (head[0] * squared_difference).sum(dim=0).mean()
        return distance
