import math

import pytest
import torch

from scene.cameras import Camera, swing_path
from scene.visual_hull import is_in_hull, points_in_hull

RADIUS = 0.3


def ball_seen_from(yaw_degrees):
    """Cameras 3 units from a ball at the origin, and its silhouettes."""
    pose = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    pose[2, 3] = 3
    camera = Camera(pose, 150.0, 150.0, 40.0, 40.0, 80, 80)
    cameras = swing_path(camera, 8, yaw_degrees)
    v, u = torch.meshgrid(torch.arange(80) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    outline = 150 * math.tan(math.asin(RADIUS / 3))  # pixels
    matte = ((u - 40).hypot(v - 40) < outline).float()
    return cameras, [matte] * len(cameras)


def test_points_fill_the_ball_and_leave_the_rest_empty():
    cameras, mattes = ball_seen_from(90)
    points = points_in_hull(cameras, mattes, 0.6, 5_000, torch.Generator().manual_seed(0))
    assert points.shape == (5_000, 3)
    assert points[:, 1].abs().max() < RADIUS + 0.03 and points.norm(dim=1).max() < 1.6 * RADIUS
    assert (points.norm(dim=1) < 0.15).any() and (points.norm(dim=1) > 0.28).any()


def test_what_few_cameras_see_is_outside():
    cameras, mattes = ball_seen_from(10)
    beyond = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 10.0]])
    assert is_in_hull(beyond, cameras, mattes).tolist() == [True, False, False]


def test_an_empty_hull_is_an_error():
    cameras, mattes = ball_seen_from(10)
    with pytest.raises(ValueError, match="visual hull: 0 of"):
        points_in_hull(cameras, [torch.zeros_like(m) for m in mattes], 0.6, 10)
