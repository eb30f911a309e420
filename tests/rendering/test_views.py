"""Which views are drawn, and what the head may see of a frame."""

import numpy as np
import pytest
import torch

from arguments import NetworkParams, PipelineParams
from gaussian_renderer import render
from rendering.drawing import draw_views
from rendering.views import FrameViews
from scene.dataset import FrameDataset
from scene.dataset_readers import read_clip
from scene.views import Drive, HeadView
from tests.scene.heads import make_head
from tests.synthetic import edited_json, write_clip


@pytest.fixture
def frames(tmp_path):
    root = write_clip(tmp_path / "clip", num_frames=4)
    with edited_json(root) as document:
        for i, frame in enumerate(document["frames"]):
            frame["torso_transform"] = np.eye(4).tolist()
            frame["torso_transform"][0][3] = 0.1 * i
    return FrameDataset(read_clip(root), (3, 1), background=(1, 1, 1))


@pytest.mark.parametrize("is_given", [True, False])
def test_the_torsos_motion_is_shown_only_to_who_may_see_it(frames, is_given):
    views = list(FrameViews(frames, torch.ones(3), NetworkParams(torso_tracking=is_given)))
    assert [view.image_id for view in views] == [3, 1]
    for view, frame in zip(views, (frames[0], frames[1])):
        assert torch.equal(view.truth, frame.image) and view.camera is frame.camera
        assert torch.equal(view.drive.expression, frame.expression)
        assert torch.equal(view.drive.head_pose, frame.camera.world_to_camera)
        assert (view.drive.torso is not None) is is_given


def test_views_are_drawn_one_by_one_as_by_hand_without_gradients(frames):
    head = make_head(30)
    views = [
        HeadView(frames[i].camera, Drive(frames[i].expression), torch.full((3,), 0.5 * i)) for i in (0, 1)
    ]
    for (view, drawn), given in zip(draw_views(head, views, PipelineParams()), views, strict=True):
        assert view is given and not drawn.image.requires_grad
        by_hand = render(view.camera, head(view.camera, view.drive), view.background)
        assert by_hand.image.requires_grad and torch.equal(drawn.image, by_hand.image)
