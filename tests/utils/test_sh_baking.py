import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from utils import sh_baking
from utils.sh_baking import bake_sh, baking_loss
from utils.spherical_harmonics import eval_sh


class _Splats(NamedTuple):
    means: Tensor
    sh: Tensor


class _Camera(NamedTuple):
    center: Tensor


def _scene(num=40, num_bases=16, num_views=12, spread=0.3, change=0.2):
    """Cameras in a narrow cone, as in a clip of a talking head, and SH that change with the camera."""
    generator = torch.Generator().manual_seed(0)
    means = 0.3 * torch.randn(num, 3, generator=generator)
    base = torch.randn(num, num_bases, 3, generator=generator)
    front = torch.tensor([0.0, 0, 3])
    cameras = [_Camera(front + spread * torch.randn(3, generator=generator)) for _ in range(num_views)]
    decoded = [
        _Splats(means, base + change * torch.randn(base.shape, generator=generator)) for _ in range(num_views)
    ]
    return decoded, cameras


def _directions(splats, camera):
    return torch.nn.functional.normalize(splats.means - camera.center, dim=1)


def _squared_error(sh, decoded, cameras):
    """Squared colour error over the cameras, of each Gaussian [N]."""
    total = 0
    for splats, camera in zip(decoded, cameras, strict=True):
        directions = _directions(splats, camera)
        total = total + (eval_sh(sh, directions) - eval_sh(splats.sh, directions)).square().sum(dim=1)
    return total


def test_coefficients_that_do_not_change_come_back():
    decoded, cameras = _scene(change=0.0)
    torch.testing.assert_close(bake_sh(decoded, cameras), decoded[0].sh, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_bases", [4, 9, 16])
def test_no_gaussian_gets_worse_than_with_the_mean(num_bases):
    decoded, cameras = _scene(num_bases=num_bases)
    mean = torch.stack([splats.sh for splats in decoded]).mean(dim=0)
    baked = _squared_error(bake_sh(decoded, cameras), decoded, cameras)
    assert (baked <= _squared_error(mean, decoded, cameras) * (1 + 1e-5)).all()
    assert baked.sum() < 0.95 * _squared_error(mean, decoded, cameras).sum()


def test_fit_is_the_ridge_solution_of_a_stacked_least_squares_problem():
    decoded, cameras = _scene(num=3, num_views=5)
    baked = bake_sh(decoded, cameras, ridge=0.05)
    for i in range(3):
        # Rows of bases at each camera by evaluating unit coefficients; below them the pull towards the mean.
        rows, colors = [], []
        for splats, camera in zip(decoded, cameras, strict=True):
            direction = _directions(splats, camera)[i].double().expand(16, 3)
            unit = torch.eye(16, dtype=torch.float64)[:, :, None].expand(16, 16, 3)
            rows.append(eval_sh(unit, direction)[:, 0].numpy())
            colors.append(rows[-1] @ splats.sh[i].double().numpy())
        mean = np.mean([splats.sh[i].double().numpy() for splats in decoded], axis=0)
        pull = math.sqrt(0.05 * 5) * np.eye(16)
        left, right = np.concatenate((rows, pull)), np.concatenate((colors, pull @ mean))
        expected = np.linalg.lstsq(left, right, rcond=None)[0]
        np.testing.assert_allclose(baked[i].numpy(), expected, atol=2e-6)


def test_a_colour_that_is_linear_in_the_direction_is_found():
    decoded, cameras = _scene(num_bases=4, change=0.0, spread=2.0, num_views=30)
    truth = decoded[0].sh
    # The decoder shows the right colours, but by its DC coefficient alone, another one for each camera.
    shown = []
    for splats, camera in zip(decoded, cameras, strict=True):
        sh = torch.zeros_like(truth)
        sh[:, 0] = eval_sh(truth, _directions(splats, camera)) * math.sqrt(4 * math.pi)
        shown.append(splats._replace(sh=sh))
    torch.testing.assert_close(bake_sh(shown, cameras, ridge=1e-8), truth, rtol=0, atol=1e-4)


def test_from_a_single_direction_the_mean_comes_back():
    decoded, cameras = _scene(num_views=2)
    same = [cameras[0], cameras[0]]
    baked = bake_sh(decoded, same)
    mean = torch.stack([splats.sh for splats in decoded]).mean(dim=0)
    # The best constant colour is that of the mean, and nothing pulls away from its coefficients.
    torch.testing.assert_close(baked, mean, rtol=0, atol=1e-5)


def test_chunks_do_not_change_the_result(monkeypatch):
    decoded, cameras = _scene()
    whole = bake_sh(decoded, cameras)
    monkeypatch.setattr(sh_baking, "_CHUNK", 7)
    torch.testing.assert_close(bake_sh(decoded, cameras), whole)


def test_no_gaussians_and_unequal_lists():
    decoded, cameras = _scene(num=0)
    assert bake_sh(decoded, cameras).shape == (0, 16, 3)
    with pytest.raises(ValueError, match="got 12 for 3"):
        bake_sh(decoded, cameras[:3])


def test_loss_is_the_psnr_of_the_renders():
    decoded, cameras = _scene(num_views=2)

    def render(camera, splats):
        return splats.sh.mean().expand(3, 4, 4)

    first, second = (
        _Splats(s.means, torch.full_like(s.sh, v)) for s, v in zip(decoded, (0.2, 0.6), strict=True)
    )
    baked = torch.full_like(decoded[0].sh, 0.3)
    expected = -10 * math.log10((0.1**2 + 0.3**2) / 2)
    assert baking_loss([first, second], baked, cameras, render) == pytest.approx(expected, rel=1e-5)
    assert baking_loss([first], first.sh, cameras[:1], render) == math.inf
