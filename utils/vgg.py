"""The convolutions of a 16-layer VGG (Simonyan and Zisserman 2015), for perceptual distances.

Weights are read from the official file of torchvision's vgg16; nothing is downloaded.
"""

import pickle
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.errors import UserError

# torchvision's vgg16: number of each convolution in `features`, and its output channels. A ReLU follows each
# one; a 2 x 2 max pooling stands before each later block.
BLOCKS = (
    ((0, 64), (2, 64)),
    ((5, 128), (7, 128)),
    ((10, 256), (12, 256), (14, 256)),
    ((17, 512), (19, 512), (21, 512)),
    ((24, 512), (26, 512), (28, 512)),
)


class Vgg16(nn.Module):
    """Feature maps at the end of each of the first blocks: relu1_2, relu2_2, relu3_3, relu4_3, relu5_3.

    `weights_path` is a state dict with `features.N.weight` and `features.N.bias`; the classifier is ignored.
    The weights are frozen. Raises UserError where the file cannot be used.
    """

    def __init__(self, weights_path: str | Path, num_blocks: int = len(BLOCKS)) -> None:
        super().__init__()
        self._blocks = BLOCKS[:num_blocks]
        self.features = nn.ModuleDict()
        channels = 3
        for number, outputs in (layer for block in self._blocks for layer in block):
            self.features[str(number)] = nn.Conv2d(channels, outputs, kernel_size=3, padding=1)
            channels = outputs
        load_weights_("--vgg_weights", weights_path, self.named_parameters(), "torchvision's vgg16 weights")
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the maps [B, C, h, w] of images [B, 3, H, W], normalised as the weights expect them."""
        maps = []
        for block in self._blocks:
            images = F.max_pool2d(images, kernel_size=2) if maps else images
            for number, _ in block:
                images = F.relu(self.features[str(number)](images))
            maps.append(images)
        return maps


def load_weights_(
    flag: str, path: str | Path, parameters: Iterable[tuple[str, Tensor]], expected: str
) -> None:
    """Fill parameters, by name, from a file of tensors; raises UserError that names `flag` and the file."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{flag} {path}: no such file (expected {expected})")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise UserError(f"{flag} {path}: not a readable weights file ({type(error).__name__})") from error
    for name, parameter in parameters:
        tensor = stored.get(name) if isinstance(stored, dict) else None
        found = list(tensor.shape) if isinstance(tensor, Tensor) else "nothing"
        if found != list(parameter.shape):
            raise UserError(
                f"{flag} {path}: {name}: expected shape {list(parameter.shape)}, found {found}; "
                f"is it {expected}?"
            )
        with torch.no_grad():
            parameter.copy_(tensor)
