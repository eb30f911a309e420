import pytest
import torch

from arguments import OptimizationParams
from scene.densification import GRACE_AFTER_RESET, RESET_OPACITY, SPLIT_SHRINK
from scene.views import Drive
from tests.scene.heads import (
    EXPRESSION_SIZE,
    HALF_SIDE,
    make_densifier,
    make_head,
    make_optimizer,
    step_on_random_loss,
)
from utils.errors import UserError

# Below percent_dense of the extent a Gaussian is cloned, above it is split.
SMALL = torch.log(torch.tensor(0.5 * 0.01 * HALF_SIDE))
LARGE = torch.log(torch.tensor(5 * 0.01 * HALF_SIDE))


def make(num_gaussians=8, **params):
    head = make_head(num_gaussians)
    with torch.no_grad():
        head.gaussians.log_scale.fill_(SMALL)
    optimizer = make_optimizer(head, **params)
    step_on_random_loss(head, optimizer, seed=0)
    with torch.no_grad():
        head.gaussians.log_scale.fill_(SMALL)
    densifier = make_densifier(optimizer, **params)
    densifier.stats.max_opacity += 0.5
    densifier.stats.num_seen += 1
    return head, densifier


def set_gradient(densifier, rows, value=1.0):
    densifier.stats.gradient_sum[rows] = value


@pytest.mark.parametrize("at_once", [False, True])
def test_observe_averages_gradients_of_visible_views_only(at_once):
    densifier = make(3)[1]
    densifier.stats = densifier._fresh_stats()
    gradient = torch.tensor([[3.0, 4.0, 99.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    radii, opacities = torch.tensor([[7, 0, 2], [5, 0, 0]]), torch.tensor([[0.1, 0.2, 0.3], [0.3, 0.1, 0.1]])
    if at_once:
        densifier.stats.observe_(radii, torch.stack([gradient, gradient]), opacities)
    else:
        densifier.stats.observe_(radii[0], gradient, opacities[0])
        densifier.stats.observe_(radii[1], gradient, opacities[1])
    assert densifier.stats.gradient_sum.tolist() == [10.0, 0.0, 2.0]
    assert densifier.stats.num_seen.tolist() == [2.0, 0.0, 1.0]
    assert densifier.stats.max_radius.tolist() == [7.0, 0.0, 2.0]
    torch.testing.assert_close(densifier.stats.max_opacity, torch.tensor([0.3, 0.2, 0.3]))


def test_small_gaussian_with_large_gradient_is_cloned():
    head, densifier = make()
    before = head.gaussians.gather_rows(torch.arange(8))
    set_gradient(densifier, 3)
    change = densifier.densify_(1_000)
    assert (change.num_cloned, change.num_split, change.num_pruned, change.num_gaussians) == (1, 0, 0, 9)
    for name, value in head.gaussians.named_parameters():
        assert torch.equal(value.detach()[:8], before[name])
        assert torch.equal(value.detach()[8], before[name][3]), name


def test_large_gaussian_with_large_gradient_is_replaced_by_two_smaller_ones():
    head, densifier = make()
    with torch.no_grad():
        head.gaussians.log_scale[3] = LARGE
    before = head.gaussians.gather_rows(torch.arange(8))
    set_gradient(densifier, 3)
    change = densifier.densify_(1_000)
    assert (change.num_cloned, change.num_split, change.num_gaussians) == (0, 1, 9)
    survivors = torch.tensor([0, 1, 2, 4, 5, 6, 7])
    assert torch.equal(head.gaussians.xyz.detach()[:7], before["xyz"][survivors])
    children = head.gaussians.gather_rows(torch.tensor([7, 8]))
    torch.testing.assert_close(children["log_scale"].exp(), before["log_scale"][[3, 3]].exp() / SPLIT_SHRINK)
    assert torch.equal(children["tau"], before["tau"][[3, 3]])
    assert not torch.equal(children["xyz"][0], children["xyz"][1])
    assert (children["xyz"] - before["xyz"][3]).norm(dim=1).max() < 5 * LARGE.exp()


def test_split_children_follow_the_shape_of_their_parent():
    head, densifier = make(2)
    with torch.no_grad():
        # A needle along its x axis, which the rotation turns to y.
        head.gaussians.log_scale[0] = torch.tensor([LARGE, -20.0, -20.0])
        head.gaussians.rotation[0] = torch.tensor([2**0.5 / 2, 0, 0, 2**0.5 / 2])
    center = head.gaussians.xyz.detach()[0].clone()
    set_gradient(densifier, 0)
    densifier.densify_(1_000)
    offset = head.gaussians.xyz.detach()[1:] - center
    assert offset[:, 1].abs().min() > 1e-4
    assert offset[:, [0, 2]].abs().max() < 1e-6


def test_gaussian_that_no_expression_shows_is_pruned_and_one_that_some_did_is_kept():
    head, densifier = make()
    before = head.gaussians.xyz.detach().clone()
    stats = densifier._fresh_stats()
    densifier.stats = stats
    shut, opened = torch.full((8,), 0.5), torch.full((8,), 0.5)
    # Two are invisible while the mouth is shut, one of them always.
    shut[[2, 5]] = 0.001
    opened[2] = 0.001
    for opacities in (opened, shut):
        stats.observe_(torch.ones(8, dtype=torch.int32), torch.zeros(8, 3), opacities)
    change = densifier.densify_(1_000)
    assert change.num_pruned == 1
    assert torch.equal(head.gaussians.xyz.detach(), before[[0, 1, 3, 4, 5, 6, 7]])


def test_a_head_that_would_vanish_stops_the_run_with_one_line():
    densifier = make_densifier(make_optimizer(make_head(9)))
    # Nothing was seen: every largest opacity is 0.
    with pytest.raises(UserError, match="iteration 600: no Gaussian is left"):
        densifier.densify_(600)


def test_size_pruning_begins_after_the_first_reset():
    head, densifier = make(max_screen_size=20)
    densifier.stats.max_radius[1] = 21
    with torch.no_grad():
        head.gaussians.log_scale[2] = torch.log(torch.tensor(0.2 * HALF_SIDE))
    assert densifier.densify_(1_000).num_pruned == 0
    densifier.last_reset = 3_000
    assert densifier.densify_(3_000 + GRACE_AFTER_RESET).num_pruned == 0
    assert densifier.densify_(3_000 + GRACE_AFTER_RESET + 1).num_pruned == 2


def test_a_screen_size_of_zero_switches_that_rule_off():
    _, densifier = make(max_screen_size=0.0)
    densifier.stats.max_radius[:] = 50
    densifier.last_reset = 3_000
    assert densifier.densify_(3_000 + GRACE_AFTER_RESET + 1).num_pruned == 0


@pytest.mark.parametrize("budget", [0, 1, 3])
def test_limit_on_the_number_takes_the_largest_gradients(budget):
    head, densifier = make(8, max_gaussians=8 + budget)
    before = head.gaussians.xyz.detach().clone()
    densifier.stats.gradient_sum[:] = torch.tensor([1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0])
    change = densifier.densify_(1_000)
    assert change.num_gaussians == 8 + budget
    expected = before[[1, 3, 5][:budget]]
    found = head.gaussians.xyz.detach()[8:]
    assert sorted(found.tolist()) == sorted(expected.tolist())


def test_reset_lowers_the_decoded_opacity_and_nothing_else(camera):
    head, densifier = make(30)
    expression = torch.randn(EXPRESSION_SIZE)
    with torch.no_grad():
        head.gaussians.opacity_offset.copy_(torch.linspace(-6, 6, 30))
    opacities = head(camera, Drive(expression)).opacities.detach()
    densifier.stats = densifier._fresh_stats()
    densifier.stats.observe_(torch.ones(30, dtype=torch.int32), torch.zeros(30, 3), opacities)
    others = {k: v.clone() for k, v in head.state_dict().items() if k != "gaussians.opacity_offset"}
    densifier.reset_opacity_(3_000)
    torch.testing.assert_close(
        head(camera, Drive(expression)).opacities, opacities.clamp_max(RESET_OPACITY), rtol=1e-3, atol=1e-6
    )
    assert opacities.max() > 0.5 and opacities.min() < RESET_OPACITY  # both sides were tried
    assert all(torch.equal(value, head.state_dict()[name]) for name, value in others.items())
    moments = densifier.optimizer.adam.moments[head.gaussians.opacity_offset]
    assert moments.exp_avg.abs().sum() == 0 and moments.exp_avg_sq.abs().sum() == 0


def test_events_fire_at_the_published_iterations():
    densifier = make(4)[1]
    densifier.params = OptimizationParams()
    densify = [i for i in range(1, 20_001) if densifier.densifies_at(i)]
    assert densify == list(range(600, 15_000, 100))
    assert [i for i in range(1, 20_001) if densifier.resets_at(i)] == [3_000, 6_000, 9_000, 12_000]
    assert densifier.observes(14_999) and not densifier.observes(15_000)


def test_no_reset_comes_too_late_for_a_densification_to_follow():
    densifier = make(4)[1]
    densifier.params = OptimizationParams(densify_until_iter=6_526, opacity_reset_interval=1_305)
    assert [i for i in range(1, 7_000) if densifier.resets_at(i)] == [1_305, 2_610, 3_915, 5_220]


def test_norms_stay_one_over_a_thousand_steps_with_densification_in_between():
    head = make_head(20)
    optimizer = make_optimizer(head, max_gaussians=60)
    densifier = make_densifier(optimizer, max_gaussians=60)
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 1_001):
        optimizer.set_learning_rates(step)
        tau = head.gaussians.tau
        tau.grad = 10 ** torch.empty(1).uniform_(-4, 2, generator=generator) * torch.randn(
            tau.shape, generator=generator
        )
        optimizer.step()
        if step % 100 == 0:
            densifier.stats.max_opacity += 0.5
            densifier.stats.num_seen += 1
            densifier.stats.gradient_sum += torch.rand(len(head.gaussians), generator=generator) * 4e-4
            densifier.densify_(step)
            densifier.stats = densifier._fresh_stats()
    assert len(head.gaussians) == 60
    norms = head.gaussians.tau.detach().double().norm(dim=-1)
    assert (norms - 1).abs().max() < 1e-5


def test_fresh_gaussians_draw_new_rotations_where_asked_and_survivors_keep_theirs():
    head, densifier = make(fresh_tau=True)
    before = head.gaussians.tau.detach().clone()
    # Nobody is fresh.
    densifier.densify_(900)
    assert torch.equal(head.gaussians.tau.detach(), before)
    set_gradient(densifier, [1])
    assert densifier.densify_(1_000).num_cloned == 1
    after = head.gaussians.tau.detach()
    assert torch.equal(after[:-1], before)
    assert not torch.isclose(after[-1], before[1]).all(dim=-1).any()
    torch.testing.assert_close(after.norm(dim=-1), torch.ones(after.shape[:2]))
