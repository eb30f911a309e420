"""One training step: what train.py does for every frame, and what planning measures."""

from typing import NamedTuple

import torch
from torch import Tensor

from arguments import TrainConfig
from gaussian_renderer import render
from scene.views import Drive, HeadView
from training.loss import TrainingLoss, outside_loss
from training.state import TrainingState


class StepResult(NamedTuple):
    """What a step tells the log."""

    loss: Tensor  # []
    image: Tensor  # [3, H, W]


class TrainingStep:
    """step(view, observes): draw a view, compare, back-propagate and move.

    On CUDA this is what is recorded as a graph: it looks at no value. `observes`: whether the view counts for
    densification.
    """

    def __init__(self, state: TrainingState, loss: TrainingLoss, config: TrainConfig) -> None:
        self.state, self.loss, self.pipeline = state, loss, config.pipeline
        self.lambda_outside = config.optimization.lambda_outside

    def __call__(self, view: HeadView, observes: bool) -> StepResult:
        head, densifier = self.state.head, self.state.densifier
        pose = view.camera.world_to_camera
        # The rasterizer refuses a pose that is no number, or draws nothing without a word: the loss says it.
        camera = view.camera.posed(pose.nan_to_num(0.0, 0.0, 0.0))
        cameras, drives = [camera], [view.drive]
        if view.side is not None:
            cameras.append(view.camera.posed(view.side.pose))
            drives.append(Drive(view.drive.expression))
        splats = head.views(cameras, drives)
        means2d = torch.zeros_like(splats.means, requires_grad=True)
        drawn = render(cameras, splats, view.background, means2d=means2d, pipeline=self.pipeline)
        image = drawn.image[0]
        loss = self.loss(image, view.truth)
        if view.side is not None:
            loss = loss + self.lambda_outside * outside_loss(drawn.alpha[1], view.side)
        # Times 1, exactly, or NaN.
        loss = loss * (1 + 0 * pose.sum())
        loss.backward()
        if observes:
            densifier.stats.observe_(drawn.radii[0], means2d.grad[0], splats.opacities[0])
        self.state.optimizer.step(loss)
        head.confine_()
        return StepResult(loss.detach(), image.detach())
