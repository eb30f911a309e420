import pytest
import torch

from tests.training.balls import RADIUS, ball_seen_from
from training.side_views import MARGIN, NUM_VIEWS, SideViews


def test_from_every_side_a_ball_is_inside_and_what_is_far_from_it_is_outside():
    cameras, mattes = ball_seen_from(0)
    camera = cameras[0]
    views = SideViews(camera, mattes[0], torch.Generator().manual_seed(0))
    assert views.poses.shape == (NUM_VIEWS, 4, 4) and views.outside.shape == (NUM_VIEWS, 80, 80)
    v, u = torch.meshgrid(torch.arange(80) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    outline = 150 * RADIUS / 3  # pixels, about
    margin = MARGIN * 80 / 512
    for pose, outside in zip(views.poses, views.outside):
        assert pose[:3, :3].det() == pytest.approx(1, abs=1e-5)
        centre = pose[:3, 3]
        radius = (u - 40 - 150 * centre[0] / centre[2]).hypot(v - 40 - 150 * centre[1] / centre[2])
        assert not outside[radius < outline].any()
        assert outside[radius > outline + 2.5 * margin].all()
    looks = -(views.poses[:, :3, :3].transpose(1, 2) @ views.poses[:, :3, 3:])[:, :, 0]  # camera centres
    yaw = torch.atan2(looks[:, 0], looks[:, 2]).rad2deg()
    assert yaw.max() > 15 and yaw.min() < -15 and yaw.abs().max() < 32


def test_an_empty_matte_is_an_error():
    cameras, mattes = ball_seen_from(0)
    with pytest.raises(ValueError, match="no pixel of the matte"):
        SideViews(cameras[0], torch.zeros_like(mattes[0]))


def test_side_views_come_in_turn():
    cameras, mattes = ball_seen_from(0)
    views = SideViews(cameras[0], mattes[0], torch.Generator().manual_seed(0))
    assert torch.equal(views[NUM_VIEWS + 3].pose, views.poses[3])
    assert torch.equal(views[3].outside, views.outside[3]) and len(views) == NUM_VIEWS
