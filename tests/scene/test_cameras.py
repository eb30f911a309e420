import math

import numpy as np
import pytest
import torch

from scene.cameras import Camera, near_plane, swing_path
from tests.synthetic import camera_to_world


def make_camera(yaw=0.0, **changes):
    values = {"fx": 90.0, "fy": 80.0, "cx": 17.0, "cy": 11.0, "width": 32, "height": 24, **changes}
    return Camera.from_camera_to_world(camera_to_world(yaw), **values)


def project(camera, point):
    """Pixels and depth of a world point, the textbook way."""
    x, y, z, _ = (camera.world_to_camera.double() @ torch.tensor([*point, 1.0], dtype=torch.float64)).tolist()
    return np.array([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy]), z


def test_the_head_lies_in_front_at_the_principal_point_with_y_up_going_up_in_the_image():
    camera = make_camera()
    pixel, depth = project(camera, [0, 0, 0])
    np.testing.assert_allclose(pixel, [17, 11], atol=1e-6)
    assert depth == pytest.approx(3.0)
    # World x is right in the image of a camera on +z, and world y is up.
    assert project(camera, [0.1, 0, 0])[0][0] > 17
    assert project(camera, [0, 0.1, 0])[0][1] < 11


def test_center_is_the_position_of_the_pose():
    camera = make_camera(yaw=0.3)
    np.testing.assert_allclose(camera.center.numpy(), camera_to_world(0.3)[:3, 3], atol=1e-6)


def test_scaling_moves_every_projection_by_the_ratio_of_the_sizes():
    camera = make_camera(yaw=0.2)
    point = [0.2, -0.1, 0.3]
    scaled = camera.scaled(13, 48)
    np.testing.assert_allclose(project(scaled, point)[0], project(camera, point)[0] * [13 / 32, 48 / 24])
    assert (scaled.width, scaled.height) == (13, 48)


def test_cropping_moves_every_projection_by_the_corner():
    camera = make_camera(yaw=0.2)
    point = [0.2, -0.1, 0.3]
    cropped = camera.cropped(5, 3, 20, 10)
    np.testing.assert_allclose(project(cropped, point)[0], project(camera, point)[0] - [5, 3])
    assert (cropped.width, cropped.height) == (20, 10)


@pytest.mark.parametrize(("distances", "near"), [([3.5, 3.4], 0.2), ([4.0, 0.5], 0.05)])
def test_near_plane_yields_to_close_cameras(distances, near):
    assert near_plane(np.array(distances)) == pytest.approx(near)


def test_swing_orbits_the_y_axis_smoothly_and_closes():
    camera = make_camera(yaw=0.1)
    path = swing_path(camera, 40, 30.0)
    assert len(path) == 40
    centers = torch.stack([c.center for c in path])
    torch.testing.assert_close(centers.norm(dim=1), torch.full((40,), 3.0))
    torch.testing.assert_close(centers[:, 1], torch.zeros(40), atol=1e-6, rtol=0)
    yaw = torch.rad2deg(torch.atan2(centers[:, 0], centers[:, 2])) - math.degrees(0.1)
    assert yaw[0].abs() < 1e-3
    assert yaw.max().item() == pytest.approx(30, abs=1e-3)
    assert yaw.argmax() == 10
    assert yaw.min().item() == pytest.approx(-30, abs=1e-3)
    # No jump, the one from last to first included.
    steps = torch.cat([yaw, yaw[:1]]).diff().abs()
    assert steps.max() < 30 * 2 * math.pi / 40 * 1.01
    # Still looking at the head, with the same lens.
    for view in path:
        np.testing.assert_allclose(project(view, [0, 0, 0])[0], [17, 11], atol=1e-4)


def test_one_frame_swing_is_the_camera_itself():
    camera = make_camera(yaw=0.4)
    torch.testing.assert_close(swing_path(camera, 1, 25.0)[0].world_to_camera, camera.world_to_camera)
