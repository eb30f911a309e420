import pytest
import torch

from tests.scene.heads import make_head
from training.planning import GROWTH, MEASURED_STEPS, WARM_UP_STEPS, grown, plan_iterations, seconds_per_step


def test_grown_head_is_as_heavy_as_the_final_one_and_the_original_stays():
    head = make_head(10, sh_degree=2)
    head.deforms, head.active_sh_degree = False, 0
    before = {name: value.clone() for name, value in head.state_dict().items()}
    assert len(grown(head, max_gaussians=25).gaussians) == 25
    heavy = grown(head, max_gaussians=0)
    assert len(heavy.gaussians) == GROWTH * 10 and heavy.deforms and heavy.active_sh_degree == 2
    assert len(head.gaussians) == 10 and not head.deforms and head.active_sh_degree == 0
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_measured_time_is_the_median_without_the_slow_first_steps():
    now, calls = [0.0], []

    def step():
        calls.append(0)
        now[0] += 0.2 if len(calls) in (1, 8) else 0.01 + 1e-4 * len(calls)

    measured = seconds_per_step(step, torch.device("cpu"), clock=lambda: now[0])
    # Of steps 4 to 15, with the slow eighth among the slowest: the seventh smallest is step 11.
    assert len(calls) == WARM_UP_STEPS + MEASURED_STEPS and measured == pytest.approx(0.0111)


def test_plan_fills_nine_tenths_of_the_time():
    assert plan_iterations(0.1, max_minutes=10) == 5_400
    assert plan_iterations(1e9, max_minutes=1) == 1
