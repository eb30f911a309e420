"""How long a run may be: the schedule planned from the measured speed (`--max_minutes`)."""

import copy
import math
import time
from collections.abc import Callable, Sequence

import torch

from arguments import TrainConfig
from scene.head_model import GaussianHead
from scene.views import HeadView
from training.captured_step import CapturedStep
from training.loss import TrainingLoss
from training.state import TrainingState
from training.step import TrainingStep

# Compilation, caches.
WARM_UP_STEPS = 3
MEASURED_STEPS = 12
# Above that of the start: opacities of about 0.6, as trained heads have them.
LATER_OPACITY_LOGIT = 2.5
# Expected final number of Gaussians over the initial one, where nothing limits it.
GROWTH = 3
# Of the time; the rest is for evaluation, saving and a slower machine than measured.
SHARE_FOR_STEPS = 0.9


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


def seconds_per_iteration(
    config: TrainConfig, head: GaussianHead, loss: TrainingLoss, views: Sequence[HeadView], can_capture: bool
) -> float:
    """The time of train.py's own step on a copy of a fresh head that is as heavy as the final one."""
    heavy = grown(head, config.optimization.max_gaussians)
    state = TrainingState.around(heavy, config, num_frames=1, generator=torch.Generator())
    step = CapturedStep(TrainingStep(state, loss, config), heavy, can_capture)
    return seconds_per_step(lambda: step(views, True), views[0].truth.device)


def seconds_per_step(
    step: Callable[[], object], device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median time of a training step, after a few that do not count."""
    times = []
    for _ in range(WARM_UP_STEPS + MEASURED_STEPS):
        start = clock()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - start)
    return sorted(times[WARM_UP_STEPS:])[MEASURED_STEPS // 2]


def plan_iterations(seconds: float, max_minutes: float) -> int:
    """Iterations that fit into the time."""
    return max(1, int(60 * max_minutes * SHARE_FOR_STEPS / seconds))
