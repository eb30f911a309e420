"""Scores of a part of an image, and scores for what PSNR does not see: blur, flicker, a dirty background.

Images are [C, H, W] in [0, 1]; a region is a mask [H, W] of bool. A region without pixels scores NaN.
"""

import math

import torch
from torch import Tensor

from utils.metrics import Scores, ssim_map

# ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


@torch.no_grad()
def score_regions(image: Tensor, truth: Tensor, regions: dict[str, Tensor]) -> dict[str, Scores]:
    """Score each region of an image as `utils.metrics.score` does the whole of it.

    L1 and PSNR are those of the region's pixels; SSIM is the mean of the whole image's SSIM map over them, so
    that its window sees what surrounds the region.
    """
    image, truth = image.clamp(0, 1), truth.clamp(0, 1)
    similarity = ssim_map(image, truth)
    difference = image - truth
    return {name: _score(difference, similarity, region) for name, region in regions.items()}


def sharpness(image: Tensor, truth: Tensor, region: Tensor) -> Tensor:
    """Mean squared Laplacian of the grey image within a region, over that of the truth; a scalar.

    1 is as sharp as the truth, less is blurred, more is noisy. The outermost pixels of the image are left
    out; NaN where the truth has no detail.
    """
    region = region[1:-1, 1:-1]
    energies = [laplacian(grey(x))[region].square().mean() for x in (image, truth)]
    return energies[0] / energies[1] if energies[1] > 0 else energies[1].new_tensor(math.nan)


def grey(image: Tensor) -> Tensor:
    """Luma of an image [3, H, W]; returns [H, W]."""
    return torch.einsum("c,chw->hw", image.new_tensor(LUMA), image)


def laplacian(values: Tensor) -> Tensor:
    """Sum of the four neighbours minus four times the value, for the inner pixels of [H, W]: [H-2, W-2]."""
    neighbours = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return neighbours - 4 * values[1:-1, 1:-1]


def mean_absolute_error(image: Tensor, truth: Tensor, region: Tensor) -> Tensor:
    """Mean absolute difference over a region and the channels; a scalar."""
    return (image - truth)[:, region].abs().mean()


def flicker(error_before: Tensor, error: Tensor, error_after: Tensor) -> Tensor:
    """Mean absolute second difference in time of the error (render - truth) [C, H, W] of three frames.

    Motion that the truth has too cancels; an error that stays or grows evenly scores 0.
    """
    return (error_before - 2 * error + error_after).abs().mean()


def _score(difference: Tensor, similarity: Tensor, region: Tensor) -> Scores:
    inside = difference[:, region]  # [C, pixels of the region]
    psnr = -10 * torch.log10(inside.square().mean())
    return Scores(l1=inside.abs().mean(), psnr=psnr, ssim=similarity[:, region].mean())
