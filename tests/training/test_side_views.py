import math

import pytest
import torch

from tests.training.balls import RADIUS, ball_seen_from
from training.loss import outside_loss
from training.side_views import (
    COARSE,
    MARGIN,
    MARGIN_ON_SCAFFOLD,
    MAX_YAW,
    MAX_YAW_ON_SCAFFOLD,
    NUM_VIEWS,
    SideViews,
)


@pytest.fixture(scope="module")
def views():
    """Side views of a ball that is guessed from its matte."""
    cameras, mattes = ball_seen_from(0)
    return SideViews(cameras[0], mattes[0], torch.Generator().manual_seed(0))


def test_from_every_side_a_ball_is_inside_and_what_is_far_from_it_is_outside(views):
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


def test_side_views_come_in_turn(views):
    assert torch.equal(views[NUM_VIEWS + 3].pose, views.poses[3])
    assert torch.equal(views[3].outside, views.outside[3]) and len(views) == NUM_VIEWS


@pytest.fixture(scope="module")
def known_ball():
    """A camera, and side views of a ball that is known."""
    camera = ball_seen_from(0)[0][0]
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(30_000, 3, generator=generator), dim=1)
    points = RADIUS * torch.rand(30_000, 1, generator=generator) ** (1 / 3) * direction
    return camera, SideViews(camera, torch.zeros(80, 80), torch.Generator().manual_seed(0), points.double())


def test_beyond_a_known_ball_is_nobody(known_ball):
    _, views = known_ball
    outline = 150 * math.tan(math.asin(RADIUS / 3))  # pixels
    pixel = COARSE * 80 / 512
    v, u = torch.meshgrid(torch.arange(80) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    for pose, outside in zip(views.poses, views.outside):
        centre = pose[:3, 3]
        radius = (u - 40 - 150 * centre[0] / centre[2]).hypot(v - 40 - 150 * centre[1] / centre[2])
        assert radius[outside].min() > outline
        assert outside[radius > outline + (MARGIN_ON_SCAFFOLD + 2 * COARSE) * 80 / 512 * 2**0.5 + pixel].all()
    yaw = torch.atan2(-views.poses[:, 2, 0], -views.poses[:, 2, 2]).rad2deg().abs()
    assert MAX_YAW < yaw.max() <= MAX_YAW_ON_SCAFFOLD + 1


def test_the_loss_asks_for_nothing_outside(known_ball):
    _, views = known_ball
    side = views[4]
    alpha = torch.rand(80, 80, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = outside_loss(alpha, side)
    found.backward()
    torch.testing.assert_close(alpha.grad, side.outside / 6400)
    assert found.item() == pytest.approx(alpha.detach()[side.outside].sum().item() / 6400, rel=1e-5)
