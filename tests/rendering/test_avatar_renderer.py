"""Pictures of the fast path, against `render`."""

import numpy as np
import pytest
import torch

from gaussian_renderer import render
from rendering.avatar_renderer import AvatarRenderer
from scene.avatar import Avatar
from scene.cameras import Camera, swing_path
from scene.views import Drive
from tests.scene.heads import EXPRESSION_SIZE, make_head
from utils.images import to_uint8

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def make_avatar(device: str, **changes) -> Avatar:
    pose = np.eye(4)
    pose[2, 3] = 2.0
    camera = Camera.from_camera_to_world(pose, 60.0, 60.0, 20.0, 16.0, 40, 32)
    head = make_head(300, **changes).requires_grad_(False)
    return Avatar(head, torch.zeros(EXPRESSION_SIZE), None, camera, torch.ones(3), 1).to(device)


def by_hand(avatar: Avatar, camera: Camera, drive: Drive) -> np.ndarray:
    splats = avatar.head(camera, drive)
    return to_uint8(render(camera, splats, avatar.background).image)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scaffold", [False, True])
@pytest.mark.parametrize("with_pose", [False, True])
def test_pictures_are_those_of_render_for_every_expression_and_camera(device, scaffold, with_pose):
    avatar = make_avatar(device, scaffold=scaffold, torso_membership=True)
    renderer = AvatarRenderer(avatar)
    generator = torch.Generator().manual_seed(0)
    cameras = swing_path(avatar.camera.to("cpu"), 6, 20.0)
    seen = set()
    for camera in cameras:
        expression = torch.randn(EXPRESSION_SIZE, generator=generator).to(device)
        camera = camera.to(device)
        pose = camera.world_to_camera if with_pose else None
        picture = renderer(expression, camera, pose)
        assert (picture.dtype, picture.shape, picture.device.type) == (torch.uint8, (32, 40, 3), device)
        np.testing.assert_array_equal(picture.cpu(), by_hand(avatar, camera, Drive(expression, pose)))
        seen.add(picture.cpu().numpy().tobytes())
    assert len(seen) == len(cameras)


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_equals_its_pictures_one_by_one(device):
    avatar = make_avatar(device)
    batched, single = AvatarRenderer(avatar, batch=3), AvatarRenderer(avatar)
    expressions = torch.randn(4, 3, EXPRESSION_SIZE, generator=torch.Generator().manual_seed(0)).to(device)
    for group in expressions:
        pictures = batched(group)
        assert pictures.shape == (3, 32, 40, 3)
        for expression, picture in zip(group, pictures.clone(), strict=True):
            assert torch.equal(single(expression), picture)


@pytest.mark.parametrize("device", DEVICES)
def test_another_size_is_the_camera_scaled(device):
    avatar = make_avatar(device)
    renderer = AvatarRenderer(avatar, size=(80, 64))
    expression = torch.ones(EXPRESSION_SIZE)
    expected = by_hand(avatar, avatar.camera.scaled(80, 64), Drive(expression.to(device)))
    # The expression may lie elsewhere; the size may change between calls.
    for camera in (None, avatar.camera, avatar.camera, None, None, None):
        picture = renderer(expression, camera)
        assert picture.shape == ((64, 80, 3) if camera is None else (32, 40, 3))
    np.testing.assert_array_equal(picture.cpu(), expected)


def test_another_number_than_the_batch_is_refused():
    renderer = AvatarRenderer(make_avatar("cpu"), batch=2)
    with pytest.raises(ValueError, match="expected 2 of each, got 3 expressions, 2 cameras and 2 head poses"):
        renderer(torch.zeros(3, EXPRESSION_SIZE))
