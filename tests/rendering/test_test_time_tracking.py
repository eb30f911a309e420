import torch

from arguments import PipelineParams
from gaussian_renderer import render
from rendering.test_time_tracking import TrackedViews, fit_view
from scene.avatar import Avatar
from scene.cameras import Camera
from scene.views import Drive, HeadView
from tests.scene.heads import EXPRESSION_SIZE
from tests.scene.heads import make_head as plain_head
from tests.scene.test_head_model import activate_everything
from utils.rotations import rigid_motion

POSE = torch.diag(torch.tensor([1.0, -1, -1, 1]))
POSE[2, 3] = 3.0
CAMERA = Camera(POSE, 150.0, 150.0, 32.0, 24.0, 64, 48)
BACKGROUND = torch.ones(3)


def make_avatar() -> Avatar:
    head = activate_everything(plain_head(200, torso_membership=False)).requires_grad_(False)
    head.gaussians.opacity_offset.add_(2.0)
    return Avatar(head, torch.zeros(EXPRESSION_SIZE), None, CAMERA, BACKGROUND, 1)


def draw(avatar: Avatar, camera: Camera, expression) -> torch.Tensor:
    with torch.no_grad():
        return render(camera, avatar.head(camera, Drive(expression)), BACKGROUND).image


def error(avatar: Avatar, view: HeadView) -> float:
    return float((draw(avatar, view.camera, view.drive.expression) - view.truth).abs().mean())


def test_a_disturbed_pose_and_expression_are_found_again():
    avatar, expression = make_avatar(), 0.3 * torch.rand(EXPRESSION_SIZE)
    truth = draw(avatar, CAMERA, expression)
    disturbance = torch.tensor([0.003, -0.004, 0.005, 0.01, -0.01, 0.02])
    camera = CAMERA.posed(rigid_motion(disturbance) @ POSE)
    view = HeadView(camera, Drive(expression + 0.05, camera.world_to_camera), BACKGROUND, truth, 7)
    fitted = fit_view(avatar, view, 60, PipelineParams())
    assert error(avatar, fitted) < 0.3 * error(avatar, view)
    assert fitted.truth is truth and fitted.image_id == 7
    assert (fitted.camera.world_to_camera - POSE).norm() < 0.5 * (view.camera.world_to_camera - POSE).norm()
    assert all(p.grad is None for p in avatar.head.parameters())


def test_views_are_fitted_one_by_one_even_where_gradients_are_off():
    avatar = make_avatar()
    truth = draw(avatar, CAMERA, torch.zeros(EXPRESSION_SIZE))
    view = HeadView(CAMERA, Drive(torch.zeros(EXPRESSION_SIZE), POSE), BACKGROUND, truth, 0)
    views = TrackedViews([view, view], avatar, 2, PipelineParams())
    with torch.no_grad():
        fitted = list(views)
    assert len(views) == len(fitted) == 2
    assert not fitted[0].camera.world_to_camera.requires_grad
