"""How long a run may be: the schedule planned from the measured speed (`--max_minutes`)."""

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import nn

from arguments import TrainConfig
from gaussian_renderer import render
from scene.head_model import GaussianHead
from scene.optimization import HeadOptimizer, schedules
from training.captured_step import StepResult
from training.loss import outside_loss
from training.training_view import TrainingView

WARM_UP_STEPS = 3  # compilation, caches
MEASURED_STEPS = 12
LATER_OPACITY_LOGIT = 2.5  # above that of the start: opacities of about 0.6, as trained heads have them
GROWTH = 3  # expected final number of Gaussians over the initial one, where nothing limits it
SHARE_FOR_STEPS = 0.9  # of the time; the rest is for evaluation, saving and a slower machine than measured


def grown(head: GaussianHead, max_gaussians: int) -> GaussianHead:
    """A copy of a fresh head as heavy as it will be at the end: more Gaussians, all SH bases, deforming."""
    num_now = len(head.gaussians)
    num_later = max_gaussians or GROWTH * num_now
    other = copy.deepcopy(head)
    rows = torch.arange(num_later, device=head.gaussians.xyz.device) % num_now
    other.gaussians.replace_(other.gaussians.gather_rows(rows))
    # As small and opaque as in a trained head. The large transparent ones of the start cost more.
    surface_spacing = 2 * head.architecture.half_side / num_later**0.5
    with torch.no_grad():
        other.gaussians.xyz.add_(0.02 * torch.randn_like(other.gaussians.xyz))
        other.gaussians.log_scale.fill_(math.log(surface_spacing))
        other.gaussians.opacity_offset.add_(LATER_OPACITY_LOGIT)
    other.deforms = True
    other.active_sh_degree = head.architecture.sh_degree
    return other


def training_step(
    head: GaussianHead, config: TrainConfig, loss_of: nn.Module
) -> Callable[[TrainingView, bool], StepResult]:
    """A step that costs what one of train.py costs, on an optimizer of its own."""
    optimizer = HeadOptimizer(head, schedules(config.optimization))

    def step(view: TrainingView, observes: bool) -> StepResult:
        splats = head(view.camera, view.expression, view.head_pose, view.torso)
        drawn = render(view.camera, splats, view.background, pipeline=config.pipeline)
        loss = loss_of(drawn.image, view.image)
        if view.outside is not None:
            loss = loss + outside_loss(head, view)
        loss.backward()
        optimizer.step()
        return StepResult(loss.detach(), drawn.image.detach())

    return step


def seconds_per_step(step: Callable[[], None], device: torch.device) -> float:
    """Median time of a training step, after a few that do not count."""
    times = []
    for _ in range(WARM_UP_STEPS + MEASURED_STEPS):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return sorted(times[WARM_UP_STEPS:])[MEASURED_STEPS // 2]


def plan_iterations(seconds: float, max_minutes: float) -> int:
    """Iterations that fit into the time."""
    return max(1, int(60 * max_minutes * SHARE_FOR_STEPS / seconds))
