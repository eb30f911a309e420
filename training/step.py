"""One training step: what train.py does over and over, and what planning measures."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from arguments import TrainConfig
from gaussian_renderer import render
from scene.views import Drive, HeadView
from training.loss import TrainingLoss, outside_loss
from training.state import TrainingState
from utils.tensor_cores import products_by_tensor_cores


class StepResult(NamedTuple):
    """What a step tells the log."""

    loss: Tensor  # []
    images: Tensor  # [V, 3, H, W]


class TrainingStep:
    """step(views, observes): draw V views, compare, back-propagate the mean of their losses and move.

    They share a background; a side view stands beside the first. On CUDA this is what is recorded as a graph:
    it looks at no value. `observes`: whether the views count for densification.
    """

    def __init__(self, state: TrainingState, loss: TrainingLoss, config: TrainConfig) -> None:
        self.state, self.loss, self.pipeline = state, loss, config.pipeline
        self.lambda_outside = config.optimization.lambda_outside

    def __call__(self, views: Sequence[HeadView], observes: bool) -> StepResult:
        with products_by_tensor_cores(views[0].background.device):
            return self._step(views, observes)

    def _step(self, views: Sequence[HeadView], observes: bool) -> StepResult:
        head, densifier, num = self.state.head, self.state.densifier, len(views)
        first, side = views[0], views[0].side
        poses = torch.stack([view.camera.world_to_camera for view in views])
        # The rasterizer refuses a pose that is no number, or draws nothing without a word: the loss says it.
        known = poses.nan_to_num(0.0, 0.0, 0.0)
        cameras = [view.camera.posed(pose) for view, pose in zip(views, known)]
        drives = [view.drive for view in views]
        if side is not None:
            cameras.append(first.camera.posed(side.pose))
            drives.append(Drive(first.drive.expression))
        splats = head.views(cameras, drives)
        means2d = torch.zeros_like(splats.means, requires_grad=True)
        drawn = render(cameras, splats, first.background, means2d=means2d, pipeline=self.pipeline)
        images = drawn.image[:num]
        loss = self.loss(images, torch.stack([view.truth for view in views]))
        if side is not None:
            loss = loss + self.lambda_outside * outside_loss(drawn.alpha[num], side)
        # Times 1, exactly, or NaN.
        loss = loss * (1 + 0 * poses.sum())
        loss.backward()
        if observes:
            # The loss is a mean: each view's own gradient is so many times as much.
            densifier.stats.observe_(drawn.radii[:num], num * means2d.grad[:num], splats.opacities[:num])
        self.state.optimizer.step(loss)
        head.confine_()
        return StepResult(loss.detach(), images.detach())
