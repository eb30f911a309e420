import torch

from scene.dataset import Frame
from training.augmentation import on_background, signal_noise


def test_an_image_on_another_background_is_that_composition():
    rgb, matte = torch.rand(3, 4, 5), torch.rand(4, 5)
    old, new = torch.ones(3), torch.tensor([0.2, 0.4, 0.6])
    image = rgb * matte + old[:, None, None] * (1 - matte)
    frame = Frame(0, 0, None, torch.zeros(1), image, matte)
    expected = rgb * matte + new[:, None, None] * (1 - matte)
    torch.testing.assert_close(on_background(frame, old, new), expected)


def test_noise_has_the_asked_share_of_each_spread():
    spread, generator = torch.tensor([0.0, 1.0, 3.0]), torch.Generator().manual_seed(0)
    samples = torch.stack([signal_noise(spread, 0.1, generator) for _ in range(2_000)])
    torch.testing.assert_close(samples.mean(0), torch.zeros(3), atol=0.03, rtol=0)
    torch.testing.assert_close(samples.std(0), 0.1 * spread, atol=0.02, rtol=0)
