import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from utils.metrics import blur, l1, psnr, score, ssim


def _images(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(*shape, generator=generator, dtype=torch.float64)
    noise = 0.2 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    return (truth + noise).clamp(0, 1), truth


def _slow_blur(plane):
    # scipy's truncate makes the radius int(truncate * sigma + 0.5) = 5: an 11 x 11 window.
    return ndimage.gaussian_filter(plane, sigma=1.5, mode="constant", cval=0.0, truncate=5 / 1.5)


def _slow_ssim(image, truth):
    """SSIM of Wang et al. 2004 with scipy's Gaussian filter; images [C, H, W]."""
    means = []
    for x, y in zip(image.numpy(), truth.numpy(), strict=True):
        mean_x, mean_y = _slow_blur(x), _slow_blur(y)
        variance_x = _slow_blur(x * x) - mean_x**2
        variance_y = _slow_blur(y * y) - mean_y**2
        covariance = _slow_blur(x * y) - mean_x * mean_y
        numerator = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
        denominator = (mean_x**2 + mean_y**2 + 0.01**2) * (variance_x + variance_y + 0.03**2)
        means.append((numerator / denominator).mean())
    return float(np.mean(means))


@pytest.mark.parametrize("size", [(40, 33), (11, 11), (3, 25), (1, 1)])
def test_ssim_agrees_with_scipy_filters_and_zero_padding(size):
    image, truth = _images(3, *size)
    assert ssim(image, truth).item() == pytest.approx(_slow_ssim(image, truth), abs=1e-10)


def test_ssim_in_float32_agrees_with_float64():
    image, truth = _images(3, 64, 64)
    # Variances are differences of rounded squares: error about 1e-7 / C2 = 1e-4 in a pixel at worst.
    assert ssim(image.float(), truth.float()).item() == pytest.approx(ssim(image, truth).item(), abs=1e-5)


@pytest.mark.parametrize("brightness", [0.0, 0.5, 1.0])
def test_ssim_of_equal_flat_images_is_one_and_has_no_slope(brightness):
    """Variances and, in the dark, means are 0 there; equal images are where SSIM is largest."""
    truth = torch.full((3, 16, 16), brightness)
    image = truth.clone().requires_grad_()
    value = ssim(image, truth)
    value.backward()
    assert value.item() == pytest.approx(1)
    torch.testing.assert_close(image.grad, torch.zeros_like(truth), rtol=0, atol=1e-6)


def test_ssim_gradients_agree_with_finite_differences_for_both_images():
    image, truth = _images(2, 2, 7, 13)
    assert torch.autograd.gradcheck(ssim, (image.requires_grad_(), truth.requires_grad_()))


def test_ssim_of_a_batch_is_that_of_each_image():
    image, truth = _images(4, 3, 20, 24)
    each = torch.stack([ssim(a, b) for a, b in zip(image, truth, strict=True)])
    torch.testing.assert_close(ssim(image, truth), each)


def test_blur_leaves_its_argument_alone():
    maps = torch.rand(2, 9, 9)
    before = maps.clone()
    blur(maps)
    assert torch.equal(maps, before)


def test_psnr_is_per_image_and_follows_the_definition():
    truth = torch.full((2, 3, 4, 4), 0.5)
    image = truth + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    torch.testing.assert_close(psnr(image, truth), torch.tensor([20.0, 40.0]), rtol=1e-4, atol=0)


def test_psnr_clamps_to_the_range_of_an_image():
    assert psnr(torch.full((3, 2, 2), 7.0), torch.ones(3, 2, 2)).item() == math.inf


def test_scores_are_those_of_the_clamped_images():
    image, truth = _images(3, 16, 16)
    wild = (image - 0.5) * 3
    scores = score(wild, truth)
    clamped = wild.clamp(0, 1)
    assert scores.l1.item() == pytest.approx(np.abs((clamped - truth).numpy()).mean())
    assert scores.psnr.item() == pytest.approx(-10 * math.log10(((clamped - truth) ** 2).mean().item()))
    assert scores.ssim.item() == pytest.approx(_slow_ssim(clamped, truth))


def test_different_shapes_are_refused():
    for function in (l1, psnr, ssim):
        with pytest.raises(ValueError, match=r"\[3, 4, 4\] and \[3, 4, 5\]"):
            function(torch.zeros(3, 4, 4), torch.zeros(3, 4, 5))


def test_the_blur_of_single_precision_is_that_of_double_zero_outside():
    maps = torch.rand(2, 3, 20, 7, generator=torch.Generator().manual_seed(0))
    # Smaller than the window in one direction.
    torch.testing.assert_close(blur(maps), blur(maps.double()).float(), rtol=0, atol=1e-6)
