import math

import pytest
import torch

from scene.cameras import Camera
from scene.torso import (
    fit_torso_map,
    follow_torso,
    head_motion,
    initial_membership,
    motion_matrix,
    motion_vector,
    nearest_rigid,
    predicted_torso,
    torso_motion,
)
from scene.views import Drive
from tests.scene.heads import EXPRESSION_SIZE, make_head
from utils.rotations import quaternion_to_matrix

FLIP = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))


def pose(yaw, x=0.0):
    c, s = math.cos(yaw), math.sin(yaw)
    matrix = torch.tensor([[c, 0, s, x], [0, 1, 0, 0.1], [-s, 0, c, 3], [0, 0, 0, 1]], dtype=torch.float64)
    return FLIP @ matrix


def test_a_torso_at_rest_keeps_its_place_before_the_camera():
    mean, now = pose(0.0), pose(0.2, 0.3)
    points = torch.randn(5, 3, dtype=torch.float64)
    quaternions = torch.nn.functional.normalize(torch.randn(5, 4, dtype=torch.float64), dim=1)
    motion = torso_motion(now, mean[:3], None)
    xyz, rotation = follow_torso(points, quaternions, torch.ones(5, 1, dtype=torch.float64), motion)
    torch.testing.assert_close(xyz @ now[:3, :3].T + now[:3, 3], points @ mean[:3, :3].T + mean[:3, 3])
    before = mean[:3, :3] @ quaternion_to_matrix(quaternions)
    torch.testing.assert_close(now[:3, :3] @ quaternion_to_matrix(rotation), before)


def test_its_own_motion_is_in_camera_space_with_opengl_axes():
    mean, now = pose(0.0), pose(0.2)
    torso = pose(0.1, 0.05)
    torso[:3, 3] *= 0.1
    # A proper rotation and a shift.
    torso = FLIP @ torso
    points = torch.randn(5, 3, dtype=torch.float64)
    motion = torso_motion(now, mean[:3], torso)
    xyz, _ = follow_torso(points, torch.ones(5, 4).double(), torch.ones(5, 1).double(), motion)
    in_camera = (FLIP @ mean)[:3, :3] @ points.T + (FLIP @ mean)[:3, 3:]
    expected = torso[:3, :3] @ in_camera + torso[:3, 3:]
    torch.testing.assert_close((FLIP @ now)[:3, :3] @ xyz.T + (FLIP @ now)[:3, 3:], expected)


def test_the_head_stays_and_what_lies_below_the_neck_follows():
    points = torch.tensor([[0.0, 0.2, 0.0], [0.0, -0.35, 0.0], [0.0, -0.9, 0.0]])
    membership = torch.sigmoid(initial_membership(points))
    assert membership[0] < 0.02 and abs(membership[1] - 0.5) < 1e-6 and membership[2] > 0.98
    xyz, rotation = follow_torso(points, torch.eye(4)[:3], torch.zeros(3, 1), torch.eye(4) + 0.0)
    torch.testing.assert_close(xyz, points)
    torch.testing.assert_close(rotation, torch.eye(4)[:3])


def test_nearest_rigid_is_a_rotation_and_leaves_one_alone():
    matrix = torch.randn(3, 4)
    rotation = nearest_rigid(matrix)[:, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotation) > 0
    exact = pose(0.3)[:3].float()
    torch.testing.assert_close(nearest_rigid(exact), exact)


def test_a_head_with_a_torso_is_at_rest_in_the_mean_pose_and_its_membership_learns():
    head = make_head(60)
    head.mean_pose.copy_(pose(0.0)[:3].float())
    camera = Camera(pose(0.0).float(), 60.0, 60.0, 16.0, 16.0, 32, 32)
    expression = torch.rand(EXPRESSION_SIZE)
    at_rest = head(camera, Drive(expression, pose(0.0).float()))
    torch.testing.assert_close(at_rest.means, head(camera, Drive(expression)).means)
    moved = head(camera, Drive(expression, pose(0.2).float()))
    assert (moved.means - at_rest.means).abs().max() > 0.01
    moved.means.square().sum().backward()
    assert (head.gaussians.torso_logit.grad != 0).any()


def test_motions_survive_the_way_to_vectors_and_back():
    vector = torch.tensor([0.3, -0.4, 0.2, 0.1, -0.2, 0.3], dtype=torch.float64)
    motion = motion_matrix(vector)
    torch.testing.assert_close(motion[:3, :3] @ motion[:3, :3].T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(motion_vector(motion), vector)
    angle = torch.asin(vector[:3].norm())
    x, y, z = (vector[:3] / vector[:3].norm() * angle).tolist()
    generator = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    torch.testing.assert_close(motion[:3, :3], torch.linalg.matrix_exp(generator))


def test_a_torso_that_follows_the_head_linearly_is_predicted_on_other_frames():
    generator = torch.Generator().manual_seed(0)
    mean_pose = motion_matrix(torch.tensor([0.1, 0.2, 0.0, 0.0, 0.0, 3.0]))[:3]
    heads = 0.1 * torch.randn(800, 6, generator=generator)
    # A number that never varies is no reason to fail.
    heads[:, 0] = 0
    truth = 0.3 * torch.randn(6, 6, generator=generator)

    def pose(head):
        return motion_matrix(head) @ torch.cat([mean_pose, torch.eye(4)[3:]])

    def around(head):
        # The rotation of `pose` is about the camera, so that its shift holds the mean's too.
        turn, shift = pose(head)[:3, :3] @ mean_pose[:, :3].T, pose(head)[:3, 3] - mean_pose[:, 3]
        return motion_vector(torch.cat([turn, shift[:, None]], dim=1))

    torsos = torch.stack([motion_matrix(around(h) @ truth * 0.5) for h in heads])
    poses = torch.stack([pose(h) for h in heads])
    torso_map = fit_torso_map(poses[:780], mean_pose, torsos[:780])  # [7, 6]
    predicted = torch.stack([predicted_torso(p, mean_pose, torso_map) for p in poses[780:]])
    error = (predicted - torsos[780:]).norm() / (torsos[780:] - torch.eye(4)).norm()
    # The ridge costs a little.
    assert error < 1e-2


def test_a_head_predicts_the_torso_where_nobody_has_measured_it():
    head = make_head(20, torso_tracking=True, torso_prediction=True)
    head.torso_map.copy_(0.1 * torch.randn(7, 6, generator=torch.Generator().manual_seed(0)))
    head_pose, camera = pose(0.1).float(), Camera(pose(0).float(), 50.0, 50.0, 16.0, 12.0, 32, 24)
    expression = torch.randn(EXPRESSION_SIZE)
    expected = predicted_torso(head_pose, head.mean_pose, head.torso_map)
    predicted, given = (
        head(camera, Drive(expression, head_pose)),
        head(camera, Drive(expression, head_pose, expected)),
    )
    at_rest = head(camera, Drive(expression, head_pose, torch.eye(4)))
    assert torch.equal(predicted.means, given.means)
    assert not torch.allclose(predicted.means, at_rest.means)


def test_a_torso_is_predicted_by_the_map_within_the_known_range_and_rests_far_beyond_it():
    generator = torch.Generator().manual_seed(0)
    torso_map = 0.1 * torch.randn(7, 6, generator=generator, dtype=torch.float64)
    mean_pose = pose(0.0)[:3]
    motions = torch.stack([head_motion(pose(yaw), mean_pose) for yaw in (-0.3, 0.0, 0.3)])
    known = torch.stack([motions.amin(dim=0) - 0.01, motions.amax(dim=0) + 0.01])
    for yaw in (-0.3, 0.1, 0.25):
        row = torch.cat([head_motion(pose(yaw), mean_pose), torch.ones(1, dtype=torch.float64)])
        found = motion_vector(predicted_torso(pose(yaw), mean_pose, torso_map, known))
        torch.testing.assert_close(found, row @ torso_map)
    # Sideways by 100 times what is known.
    far = motion_vector(predicted_torso(pose(0.1, 5.0), mean_pose, torso_map, known))
    torch.testing.assert_close(far, torso_map[6])


def test_beyond_the_known_range_a_torso_goes_back_step_by_step():
    mean_pose, known = pose(0.0)[:3], torch.tensor([[-0.1], [0.1]], dtype=torch.float64).expand(2, 6)
    torso_map = torch.zeros(7, 6, dtype=torch.float64)
    torso_map[3, 3] = 1.0  # sideways as the head
    beyond = [0.0, 0.05, 0.1, 0.2, 0.4]
    found = [predicted_torso(pose(0.0, 0.1 + b), mean_pose, torso_map, known)[0, 3].item() for b in beyond]
    expected = [math.exp(-((b / 0.1) ** 2)) * (0.1 + b) for b in beyond]
    assert found == pytest.approx(expected, abs=1e-9)
