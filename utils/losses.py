"""Differences between a render and the truth [..., C, H, W] that training minimises.

SSIM lives in metrics.py: the loss and the score are the same function.
"""

import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.errors import UserError
from utils.metrics import l1, ssim

# torchvision's vgg16: number of each convolution in `features`, and its output channels. A ReLU follows each
# one; a 2 x 2 max pooling stands before each later block. The last block (conv5) is not used.
_VGG16_BLOCKS = (
    ((0, 64), (2, 64)),
    ((5, 128), (7, 128)),
    ((10, 256), (12, 256), (14, 256)),
    ((17, 512), (19, 512), (21, 512)),
)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def l1_loss(image: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference over everything; a scalar."""
    return l1(image, truth).mean()


def ssim_loss(image: Tensor, truth: Tensor) -> Tensor:
    """1 - mean SSIM; a scalar, 0 for equal images."""
    return 1 - ssim(image, truth).mean()


class VggPerceptual(nn.Module):
    """Distance between two images in the features of a 16-layer VGG (Simonyan and Zisserman 2015).

    Mean absolute difference of relu1_2, relu2_2, relu3_3 and relu4_3 (the layers of Johnson et al. 2016),
    summed. `weights_path` is the official file of torchvision's vgg16 (a state dict with `features.N.weight`
    and `features.N.bias`; the classifier is ignored). The weights are frozen. Raises UserError where the file
    cannot be used.
    """

    def __init__(self, weights_path: str | Path) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        channels = 3
        for number, outputs in (layer for block in _VGG16_BLOCKS for layer in block):
            self.features[str(number)] = nn.Conv2d(channels, outputs, kernel_size=3, padding=1)
            channels = outputs
        _load_vgg16(self.features, Path(weights_path))
        self.requires_grad_(False)
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
        x = (images.reshape(-1, *images.shape[-3:]) - self.mean) / self.std  # [B, 3, H, W]
        maps = []
        for block in _VGG16_BLOCKS:
            if maps:
                x = F.max_pool2d(x, kernel_size=2)
            for number, _ in block:
                x = F.relu(self.features[str(number)](x))
            maps.append(x)
        return maps


def _load_vgg16(features: nn.ModuleDict, path: Path) -> None:
    if not path.is_file():
        raise UserError(f"--vgg_weights {path}: no such file (expected torchvision's vgg16 weights)")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise UserError(
            f"--vgg_weights {path}: not a readable weights file ({type(error).__name__})"
        ) from error
    for name, parameter in features.named_parameters():
        key = f"features.{name}"
        tensor = stored.get(key) if isinstance(stored, dict) else None
        found = list(tensor.shape) if isinstance(tensor, Tensor) else "nothing"
        if found != list(parameter.shape):
            raise UserError(
                f"--vgg_weights {path}: {key}: expected shape {list(parameter.shape)}, found {found}"
            )
        with torch.no_grad():
            parameter.copy_(tensor)
