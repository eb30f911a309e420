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
from scene.pose_refinement import rigid_motion
from training.views import View
from utils.losses import l1_loss

POSE_RATE = 1e-3  # radians, world units; a pixel at 512 is about 2e-3
EXPRESSION_RATE = 1e-2
EXPRESSION_PULL = 1e-3  # weight of the mean square of what is added to the coefficients


class TrackedViews:
    """Views with their truth, each fitted in `num_steps` before it is handed out."""

    def __init__(
        self, views, avatar: Avatar, background: Tensor, num_steps: int, pipeline: PipelineParams
    ) -> None:
        self.views, self.avatar, self.background = views, avatar, background
        self.num_steps, self.pipeline = num_steps, pipeline

    def __len__(self) -> int:
        return len(self.views)

    def __iter__(self) -> Iterator[View]:
        for view in self.views:
            yield fit_view(self.avatar, view, self.background, self.num_steps, self.pipeline)


def fit_view(
    avatar: Avatar, view: View, background: Tensor, num_steps: int, pipeline: PipelineParams
) -> View:
    """The view with the pose and expression, near those it came with, that render it most like its truth."""
    with torch.enable_grad():
        motion = nn.Parameter(view.expression.new_zeros(6))
        change = nn.Parameter(torch.zeros_like(view.expression))
        optimizer = torch.optim.Adam(
            [dict(params=[motion], lr=POSE_RATE), dict(params=[change], lr=EXPRESSION_RATE)]
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
        for _ in range(num_steps):
            moved = _moved(view, motion, change)
            splats = avatar.head(moved.camera, moved.expression, moved.head_pose, moved.torso)
            image = render(moved.camera, splats, background, pipeline=pipeline).image
            loss = l1_loss(image, view.truth) + EXPRESSION_PULL * change.square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return _moved(view, motion.detach(), change.detach())


def _moved(view: View, motion: Tensor, change: Tensor) -> View:
    pose = rigid_motion(motion) @ view.camera.world_to_camera
    return view._replace(camera=view.camera.posed(pose), head_pose=pose, expression=view.expression + change)
