import torch

from rendering.sets import DrivenViews, there_and_back
from scene.cameras import Camera
from utils.images import write_png


def make_camera(depth=3.0):
    pose = torch.eye(4)
    pose[2, 3] = depth
    return Camera(pose, 60.0, 60.0, 16.0, 12.0, 32, 24)


def test_a_motion_goes_there_and_back_without_a_jump():
    motion = torch.arange(4.0)[:, None]
    assert there_and_back(motion, 9)[:, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 0, 1]
    assert there_and_back(motion[:1], 3)[:, 0].tolist() == [0, 0, 0]


def test_driven_views_know_the_pose_of_a_head_that_was_filmed_only():
    cameras, expressions = [make_camera(3), make_camera(4)], torch.rand(2, 5)
    for moves_head in (True, False):
        views = list(DrivenViews(cameras, expressions, torch.zeros(3), moves_head))
        assert len(views) == 2 and all(view.truth is None for view in views)
        for view, camera, expression in zip(views, cameras, expressions):
            assert torch.equal(view.drive.expression, expression)
            pose = camera.world_to_camera if moves_head else None
            assert view.drive.head_pose is pose or torch.equal(view.drive.head_pose, pose)


def test_the_drivers_picture_is_scaled_to_the_height_and_may_be_missing(tmp_path):
    write_png(tmp_path / "0.png", torch.full((3, 48, 96), 0.5))
    pictures = [tmp_path / "0.png", tmp_path / "1.png"]
    cameras = [make_camera()] * 2
    first, second = DrivenViews(cameras, torch.zeros(2, 5), torch.zeros(3), pictures=pictures)
    assert first.companion.shape == (3, 24, 48) and second.companion is None
