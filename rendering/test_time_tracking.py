"""Pose and expression of a frame, fitted through the renderer: what the avatar shows where tracking is right.

A tracker leaves about a pixel of noise in held-out frames, which costs any sharp avatar several dB. Frames
tracked this way are scored apart: their images have been looked at.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from arguments import PipelineParams
from gaussian_renderer import render
from scene.avatar import Avatar
from scene.views import HeadView
from utils.losses import l1_loss
from utils.rotations import rigid_motion

# Radians, world units; a pixel at 512 is about 2e-3.
POSE_RATE = 1e-3
EXPRESSION_RATE = 1e-2
# Weight of the mean square of what is added to the coefficients.
EXPRESSION_PULL = 1e-3


class TrackedViews:
    """Views with their truth, each fitted in `num_steps` before it is handed out."""

    def __init__(self, views, avatar: Avatar, num_steps: int, pipeline: PipelineParams) -> None:
        self.views, self.avatar, self.num_steps, self.pipeline = views, avatar, num_steps, pipeline

    def __len__(self) -> int:
        return len(self.views)

    def __iter__(self) -> Iterator[HeadView]:
        for view in self.views:
            yield fit_view(self.avatar, view, self.num_steps, self.pipeline)


def fit_view(avatar: Avatar, view: HeadView, num_steps: int, pipeline: PipelineParams) -> HeadView:
    """The view with the pose and expression, near those it came with, that render it most like its truth."""
    with torch.enable_grad():
        expression = view.drive.expression
        motion = nn.Parameter(expression.new_zeros(6))
        change = nn.Parameter(torch.zeros_like(expression))
        optimizer = torch.optim.Adam(
            [dict(params=[motion], lr=POSE_RATE), dict(params=[change], lr=EXPRESSION_RATE)]
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
        for _ in range(num_steps):
            moved = _moved(view, motion, change)
            splats = avatar.head(moved.camera, moved.drive)
            image = render(moved.camera, splats, moved.background, pipeline=pipeline).image
            loss = l1_loss(image, view.truth) + EXPRESSION_PULL * change.square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return _moved(view, motion.detach(), change.detach())


def _moved(view: HeadView, motion: Tensor, change: Tensor) -> HeadView:
    pose = rigid_motion(motion) @ view.camera.world_to_camera
    drive = view.drive._replace(head_pose=pose, expression=view.drive.expression + change)
    return view._replace(camera=view.camera.posed(pose), drive=drive)
