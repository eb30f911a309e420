"""Depth of a mesh drawn by torch, against NumPy's, which other tests hold against rays."""

import numpy as np
import pytest
import torch

from parametric_head.drawing import draw_depth
from training.on_scaffold import depth as module
from training.on_scaffold.depth import draw_depth_there

FOCAL, CENTER, SIZE = 40.0, np.array([16.3, 11.8]), (33, 24)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def random_mesh(seed: int, num: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of their own corners before, beside and behind the camera."""
    random = np.random.default_rng(seed)
    places = random.uniform([-2, -2, -0.5], [2, 2, 4], (num, 1, 3))
    points = (places + random.normal(0, spread, (num, 3, 3))).reshape(-1, 3)
    return points, np.arange(3 * num, dtype=np.int32).reshape(-1, 3)


def drawn_there(points: np.ndarray, triangles: np.ndarray, device: str, **options) -> np.ndarray:
    mesh = (torch.from_numpy(part).to(device) for part in (points, triangles))
    return draw_depth_there(*mesh, FOCAL, CENTER, SIZE, **options).cpu().numpy()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("num, spread", [(300, 0.1), (40, 0.6), (8, 2.0)])
def test_depth_is_numpys(device, num, spread, monkeypatch):
    # Several parts, one of them a single large triangle.
    monkeypatch.setattr(module, "_CHUNK", 100)
    for seed in range(3):
        points, triangles = random_mesh(seed, num, spread)
        expected = draw_depth(points, triangles, FOCAL, CENTER, SIZE)
        assert 0 < np.isfinite(expected).mean() < 1
        np.testing.assert_allclose(drawn_there(points, triangles, device), expected, rtol=2e-7)
        expected = draw_depth(points, triangles, FOCAL, CENTER, SIZE, near=2.5)
        np.testing.assert_allclose(drawn_there(points, triangles, device, near=2.5), expected, rtol=2e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_edges_through_centres_leave_no_gap_and_nothing_draws_nothing(device):
    pixels = np.array([[4.5, 3.5], [20.5, 3.5], [20.5, 19.5], [4.5, 19.5]])
    points = np.concatenate([(pixels - CENTER) / FOCAL, np.ones((4, 1))], axis=1) * 2.0
    square = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    assert np.isfinite(drawn_there(points, square, device)).sum() == 17 * 17
    assert np.isinf(drawn_there(points, square[:0], device)).all()
    assert np.isinf(drawn_there(-points, square, device)).all()
