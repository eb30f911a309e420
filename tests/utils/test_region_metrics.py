import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from utils import metrics
from utils.region_metrics import flicker, grey, laplacian, mean_absolute_error, score_regions, sharpness

EVERYWHERE = torch.ones(20, 25, dtype=torch.bool)


def _images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(3, 20, 25, generator=generator, dtype=torch.float64)
    return (truth + 0.2 * torch.randn(3, 20, 25, generator=generator)).clamp(0, 1), truth


def _blurred(image, sigma=1.0):
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy(), sigma=(0, sigma, sigma)))


def test_a_region_that_is_the_whole_image_scores_as_the_image():
    image, truth = _images()
    whole = score_regions(image, truth, {"whole": EVERYWHERE})["whole"]
    for value, expected in zip(whole, metrics.score(image, truth)):
        assert value.item() == pytest.approx(expected.item(), rel=1e-12)


def test_psnr_and_l1_of_a_rectangle_are_those_of_the_crop():
    image, truth = _images()
    region = torch.zeros_like(EVERYWHERE)
    region[3:9, 5:20] = True
    scores = score_regions(image, truth, {"box": region})["box"]
    crop, true_crop = image[:, 3:9, 5:20], truth[:, 3:9, 5:20]
    assert scores.psnr.item() == pytest.approx(metrics.psnr(crop, true_crop).item(), rel=1e-12)
    assert scores.l1.item() == pytest.approx(metrics.l1(crop, true_crop).item(), rel=1e-12)


def test_regions_that_share_the_image_share_its_l1_mse_and_ssim():
    image, truth = _images()
    upper = torch.zeros_like(EVERYWHERE)
    upper[:7] = True
    parts = score_regions(image, truth, {"upper": upper, "lower": ~upper})
    whole = metrics.score(image, truth)
    share = upper.double().mean().item()

    def mixed(value):
        return share * value(parts["upper"]).item() + (1 - share) * value(parts["lower"]).item()

    assert mixed(lambda s: s.l1) == pytest.approx(whole.l1.item())
    assert mixed(lambda s: s.ssim) == pytest.approx(whole.ssim.item())
    assert mixed(lambda s: 10 ** (-s.psnr / 10)) == pytest.approx(10 ** (-whole.psnr.item() / 10))


def test_what_happens_outside_a_region_does_not_change_its_psnr():
    image, truth = _images()
    left = torch.zeros_like(EVERYWHERE)
    left[:, :10] = True
    other = torch.where(left, image, 1 - image)
    a, b = (score_regions(x, truth, {"left": left})["left"] for x in (image, other))
    assert (a.psnr, a.l1) == (b.psnr, b.l1) and a.ssim != b.ssim


def test_images_are_clamped_and_an_empty_region_has_no_score():
    image, truth = _images()
    regions = {"whole": EVERYWHERE, "nothing": ~EVERYWHERE}
    clamped, raw = (score_regions(x, truth, regions) for x in (image, torch.where(image == 1, 7.0, image)))
    assert clamped["whole"] == raw["whole"]
    assert all(math.isnan(value) for value in raw["nothing"])


def test_laplacian_is_that_of_scipy():
    values = _images()[0][0]
    expected = ndimage.laplace(values.numpy())[1:-1, 1:-1]
    assert np.allclose(laplacian(values).numpy(), expected, atol=1e-12)


def test_sharpness_of_the_truth_is_one_and_falls_with_blur():
    _, truth = _images()
    assert sharpness(truth, truth, EVERYWHERE) == 1
    a_little, much = (sharpness(_blurred(truth, s), truth, EVERYWHERE).item() for s in (0.5, 1.0))
    assert 0 < much < a_little < 1
    assert sharpness(0.5 * truth, truth, EVERYWHERE).item() == pytest.approx(0.25)


def test_sharpness_looks_at_its_region_only():
    _, truth = _images()
    left = torch.zeros_like(EVERYWHERE)
    left[:, :10] = True
    blurred_right = torch.where(left, truth, _blurred(truth))
    # The Laplacian of the last column reaches across.
    inner_left = left.roll(-1, dims=1) & left
    assert sharpness(blurred_right, truth, inner_left) == 1
    assert sharpness(blurred_right, truth, ~left) < 0.5


def test_sharpness_beside_a_flat_truth_or_nowhere_is_undefined():
    image, truth = _images()
    assert math.isnan(sharpness(image, torch.full_like(truth, 0.5), EVERYWHERE))
    assert math.isnan(sharpness(image, truth, ~EVERYWHERE))


def test_grey_is_that_of_opencv():
    image, _ = _images()
    pixels = image.permute(1, 2, 0).float().contiguous().numpy()
    expected = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(grey(image).numpy(), expected, atol=1e-6)


def test_background_error_counts_the_region_only():
    _, truth = _images()
    region = torch.zeros_like(EVERYWHERE)
    region[:5] = True
    assert mean_absolute_error(truth + 0.25, truth, region).item() == pytest.approx(0.25)
    assert mean_absolute_error(torch.where(region, truth, truth + 1), truth, region) == 0


def test_an_error_that_stays_or_grows_evenly_does_not_flicker():
    error, growth = _images()
    assert flicker(error, error, error) == 0
    assert flicker(error, error + growth, error + 2 * growth).item() == pytest.approx(0, abs=1e-15)


def test_an_error_that_appears_in_one_frame_flickers_by_twice_its_size():
    nothing = torch.zeros(3, 4, 4)
    assert flicker(nothing, nothing + 0.1, nothing).item() == pytest.approx(0.2)
    assert flicker(nothing, nothing, nothing + 0.1).item() == pytest.approx(0.1)
