import numpy as np
import pytest
import torch
from scipy import stats

from scene.triplane import TriPlane


def bilinear(plane: np.ndarray, u: float, v: float) -> np.ndarray:
    """Sample plane [C, R, R] (rows = v) at u, v in [-1, 1] with corners at the texel centres and border
    clamping."""
    size = plane.shape[-1]
    x, y = (min(max((t + 1) / 2 * (size - 1), 0), size - 1) for t in (u, v))
    x0, y0 = min(int(x), size - 2), min(int(y), size - 2)
    fx, fy = x - x0, y - y0
    top = plane[:, y0, x0] * (1 - fx) + plane[:, y0, x0 + 1] * fx
    bottom = plane[:, y0 + 1, x0] * (1 - fx) + plane[:, y0 + 1, x0 + 1] * fx
    return top * (1 - fy) + bottom * fy


def test_features_match_a_scalar_loop():
    generator = torch.Generator().manual_seed(0)
    triplane = TriPlane(half_width=1.5, resolution=5, num_channels=6, generator=generator).double()
    # K = 3; some lie outside.
    points = torch.randn(7, 3, 3, generator=generator, dtype=torch.float64)
    features = triplane(points).detach().numpy()
    planes = triplane.planes.detach().numpy()
    for n in range(7):
        for k in range(3):
            x, y, z = points[n, k].numpy() / 1.5
            block = slice(2 * k, 2 * k + 2)
            expected = (
                bilinear(planes[0, block], x, y)
                * bilinear(planes[1, block], x, z)
                * bilinear(planes[2, block], y, z)
            )
            np.testing.assert_allclose(features[n, block], expected, rtol=1e-9)


@pytest.mark.parametrize("k", range(4))
def test_doppelganger_trains_only_its_own_channel_block(k):
    triplane = TriPlane(
        half_width=1.0, resolution=8, num_channels=32, generator=torch.Generator().manual_seed(0)
    )
    points = torch.rand(20, 4, 3) - 0.5
    features = triplane(points)
    features[:, 8 * k : 8 * (k + 1)].sum().backward()
    per_channel = triplane.planes.grad.abs().sum(dim=(0, 2, 3))
    assert (per_channel[8 * k : 8 * (k + 1)] > 0).all()
    assert per_channel.sum() == per_channel[8 * k : 8 * (k + 1)].sum()


def test_planes_start_between_a_tenth_and_a_half():
    planes = TriPlane(1.0, generator=torch.Generator().manual_seed(0)).planes  # [3, 32, 64, 64]
    assert planes.numel() == 3 * 32 * 64**2
    shares = ((planes.detach().double().flatten() - 0.1) / 0.4).numpy()
    assert shares.min() > -1e-6 and shares.max() < 1 + 1e-6
    assert stats.kstest(shares, stats.uniform.cdf).pvalue > 1e-3


def test_a_place_that_is_no_number_harms_no_other():
    triplane = TriPlane(1.0, resolution=8, num_channels=8, generator=torch.Generator().manual_seed(0))
    points = torch.rand(50, 4, 3) - 0.5
    is_sound = torch.ones(50, dtype=torch.bool).index_fill_(0, torch.tensor([3, 4, 5]), False)
    expected = triplane(points[is_sound])
    (expected_gradient,) = torch.autograd.grad(expected.sum(), triplane.planes)
    points[3], points[4, 1, 2], points[5, 0, 0] = torch.nan, torch.inf, -torch.inf
    features = triplane(points.requires_grad_())
    torch.testing.assert_close(features[is_sound], expected)
    (gradient,) = torch.autograd.grad(features[is_sound].sum(), triplane.planes, retain_graph=True)
    torch.testing.assert_close(gradient, expected_gradient)
    # This aborted the process.
    features.sum().backward()
    assert triplane.planes.grad.isfinite().all()


def test_coordinate_gradients_pass_gradcheck():
    triplane = TriPlane(
        1.0, resolution=4, num_channels=4, generator=torch.Generator().manual_seed(0)
    ).double()
    points = (torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(5)).double() - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(triplane, (points,))
