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


def test_the_drivers_pictures_have_one_size_and_stay_where_the_next_is_missing(tmp_path):
    """A film has one size: pictures of 2 to 1 and of 1 to 1, the first, third and last missing."""
    write_png(tmp_path / "1.png", torch.full((3, 48, 96), 0.2))
    write_png(tmp_path / "3.png", torch.full((3, 48, 48), 0.8))
    pictures = [tmp_path / f"{number}.png" for number in range(5)]
    views = DrivenViews([make_camera()] * 5, torch.zeros(5, 5), torch.zeros(3), pictures=pictures)
    shown = [view.companion for view in views]
    assert {picture.shape for picture in shown} == {(3, 24, 48)}
    assert [round(float(picture.mean()), 2) for picture in shown] == [0.2, 0.2, 0.2, 0.8, 0.8]


def test_without_any_picture_nothing_stands_beside_the_avatar(tmp_path):
    pictures = [tmp_path / "0.png"] * 2
    views = DrivenViews([make_camera()] * 2, torch.zeros(2, 5), torch.zeros(3), pictures=pictures)
    assert [view.companion for view in views] == [None, None]
