import numpy as np
import pytest
import torch

from tests.training.balls import RADIUS, ball_seen_from
from training.inflation import inflated_height, points_on_surface


def test_a_disc_becomes_a_ball():
    y, x = np.mgrid[-40:41, -40:41]
    squared = x**2 + y**2
    height = inflated_height(squared < 30.5**2)
    expected = np.sqrt(np.maximum(30.5**2 - squared, 0))
    centre = squared < 25**2
    np.testing.assert_allclose(height[centre], expected[centre], rtol=0.05)
    assert (height[squared >= 30.5**2] == 0).all()


def test_an_outline_that_the_image_cuts_is_not_closed_there():
    strip = np.zeros((20, 41), bool)
    strip[:, 10:31] = True  # goes on above and below: as high in the first row as in the middle
    height = inflated_height(strip)
    np.testing.assert_allclose(height[0], height[10], rtol=1e-6)
    assert height[0, 20] > height[0, 12] > 0


def test_points_lie_on_the_front_of_the_ball():
    cameras, mattes = ball_seen_from(0)
    points = points_on_surface(cameras[0], mattes[0], 0.6, 4_000, torch.Generator().manual_seed(0))
    assert points.shape == (4_000, 3) and points.dtype == torch.float32
    radius = points.norm(dim=1)
    on_surface = (radius - RADIUS).abs() < 0.06
    assert on_surface.double().mean() > 0.75
    assert (points[on_surface, 2] > -0.06).double().mean() > 0.95  # the camera is on +z
    assert (radius < 0.25).double().mean() > 0.03  # some behind it
    assert points[:, :2].abs().max() < RADIUS + 0.05


def test_an_empty_matte_is_an_error():
    cameras, mattes = ball_seen_from(0)
    with pytest.raises(ValueError, match="no pixel of the matte"):
        points_on_surface(cameras[0], torch.zeros_like(mattes[0]), 0.6, 10)
