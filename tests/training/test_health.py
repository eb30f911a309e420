"""What is done about numbers that went wrong."""

from types import SimpleNamespace

import pytest
import torch

from scene.adam import Adam, Group
from tests.scene.heads import HALF_SIDE, make_densifier, make_head, make_optimizer, step_on_random_loss
from training.health import MOST_IN_A_ROW, MOST_LINES, Health
from utils.device import lack_of_memory_in_words
from utils.errors import UserError

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture
def state():
    head = make_head(30)
    optimizer = make_optimizer(head)
    return SimpleNamespace(head=head, optimizer=optimizer, densifier=make_densifier(optimizer), iteration=0)


@pytest.fixture
def said():
    return []


@pytest.fixture
def health(state, said):
    return Health(state, said.append, lambda: said.append("forgotten"))


def step(state, health, image_id=7, broken_gradient=None, loss=1.0):
    """A step with random gradients, one of which may be spoilt in one place."""
    state.iteration += 1
    generator = torch.Generator().manual_seed(state.iteration)
    for name, parameter in state.head.named_parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        if name == broken_gradient:
            parameter.grad.view(-1)[-1] = NAN
    state.optimizer.step(torch.tensor(loss))
    health.watch([image_id])


def everything(state):
    moments = state.optimizer.state_tensors()
    return {name: value.clone() for name, value in {**state.head.state_dict(), **moments}.items()}


@pytest.mark.parametrize(
    "spoilt", [dict(broken_gradient="triplane.planes"), dict(loss=NAN), dict(loss=INFINITY)]
)
def test_a_step_that_went_wrong_moves_nothing_and_the_next_one_goes_on_as_if_it_had_not_been(
    state, health, said, spoilt
):
    step(state, health)
    before = everything(state)
    step(state, health, image_id=12, **spoilt)
    after = everything(state)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in state.head.parameters())
    step(state, health)
    assert not torch.equal(everything(state)["triplane.planes"], before["triplane.planes"])
    assert said == []
    health.check()
    name = "the gradient of triplane.planes" if "broken_gradient" in spoilt else "the loss"
    assert said == [f"iteration 2, frame 12: not finite: {name}; the step was skipped, 1 so far"]
    assert health.num_skipped == 1


def test_with_sound_numbers_the_check_changes_no_bit_of_a_step():
    heads = [make_head(30), make_head(30)]
    optimizers = [make_optimizer(head) for head in heads]
    for i in range(3):
        step_on_random_loss(heads[0], optimizers[0], seed=i)
        generator = torch.Generator().manual_seed(i)
        sum((p * torch.randn(p.shape, generator=generator)).sum() for p in heads[1].parameters()).backward()
        # Without a look.
        optimizers[1].adam.step()
    for first, second in zip(heads[0].parameters(), heads[1].parameters()):
        assert torch.equal(first, second)


def test_a_bounded_number_in_a_row_stops_the_run_and_a_sound_step_begins_the_count_anew(state, health, said):
    for _ in range(MOST_IN_A_ROW - 1):
        step(state, health, loss=NAN)
    step(state, health)
    for _ in range(MOST_IN_A_ROW - 1):
        step(state, health, loss=NAN)
    health.check()
    assert health.num_skipped == 2 * (MOST_IN_A_ROW - 1) and len(said) == MOST_LINES
    step(state, health, image_id=33, loss=NAN)
    with pytest.raises(UserError, match=f"frame 33: .*the loss; {MOST_IN_A_ROW} steps in a row"):
        health.check()


def test_gaussians_that_are_no_numbers_are_pruned_with_what_belongs_to_them(state, health, said):
    step(state, health)
    gaussians, moments = state.head.gaussians, state.optimizer.adam.moments
    kept = moments[gaussians.xyz].exp_avg[torch.arange(30) != 4].clone()
    gaussians.rotation.data[4, 2] = NAN
    health.check()
    assert len(gaussians) == 29 == len(state.densifier.stats.num_seen)
    assert torch.equal(moments[gaussians.xyz].exp_avg, kept)
    assert said[0] == "forgotten" and "1 Gaussians that were not finite" in said[1]
    health.check()
    assert len(said) == 2


def test_weights_of_a_network_that_are_no_numbers_stop_the_run(state, health):
    next(state.head.deformation.parameters()).data[0] = INFINITY
    with pytest.raises(UserError, match="the weights are not finite: deformation"):
        health.check()


@pytest.mark.parametrize(
    "name, value", [("xyz", NAN), ("xyz", 101 * HALF_SIDE), ("log_scale", 10.0), ("tau", INFINITY)]
)
def test_densification_prunes_what_is_not_finite_or_huge_even_after_a_reset(state, health, said, name, value):
    densifier = state.densifier
    densifier.stats.max_opacity.fill_(1)
    densifier.last_reset = 600
    getattr(state.head.gaussians, name).data[3].view(-1)[0] = value
    change = densifier.densify_(601)
    assert (change.num_pruned, change.num_broken, len(state.head.gaussians)) == (1, 1, 29)
    health.check()
    assert "1 Gaussians" in said[0]


def test_statistics_forget_a_view_that_went_wrong(state):
    stats, num = state.densifier.stats, 30
    stats.observe_(torch.ones(num), torch.full((num, 2), NAN), torch.full((num, 1), NAN))
    assert all(value.isfinite().all() for value in stats.tensors().values())
    assert stats.num_seen.sum() == 0 == stats.max_opacity.sum()


@pytest.mark.gpu
def test_the_kernel_skips_what_the_flag_says_and_counts_only_the_others():
    parameters = [torch.nn.Parameter(torch.ones(1001, 4, device="cuda")) for _ in range(2)]
    adam = Adam([Group("a", parameters[:1], 1e-2), Group("tau", parameters[1:], 1e-2, on_sphere=True)], 1e-15)
    for skip in (0.0, 1.0, 0.0):
        before = [parameter.detach().clone() for parameter in parameters]
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, NAN if skip else 0.5)
            parameter.grad[:, 0] *= 2
        adam.step(skip=torch.tensor(bool(skip), device="cuda"))
        for parameter, old in zip(parameters, before):
            assert torch.equal(parameter, old) == bool(skip) and parameter.isfinite().all()
    assert [float(adam.moments[parameter].step) for parameter in parameters] == [2, 2]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_lack_of_memory_says_what_to_turn_down(error):
    words = r"--resolution.*--max_gaussians.*--data_device cpu"
    with pytest.raises(UserError, match=words), lack_of_memory_in_words():
        raise error
