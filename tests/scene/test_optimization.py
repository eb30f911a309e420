import math

import pytest
import torch

from arguments import OptimizationParams
from scene.optimization import HeadOptimizer, constant, log_linear, parameter_groups, schedules
from scene.views import Drive
from tests.scene.heads import make_head, make_optimizer, step_on_random_loss


def test_log_linear_passes_through_the_geometric_mean_and_stays_at_the_end():
    rate = log_linear(8e-4, 1.6e-6, 80_000)
    assert rate(0) == pytest.approx(8e-4)
    assert rate(40_000) == pytest.approx(math.sqrt(8e-4 * 1.6e-6))
    assert rate(80_000) == rate(200_000) == pytest.approx(1.6e-6)


def test_rates_grow_with_the_square_root_of_the_views_of_a_step():
    one, four = (schedules(OptimizationParams(views_per_step=num)) for num in (1, 4))
    for iteration in (0, 500, 80_000):
        expected = {name: pytest.approx(2 * rate(iteration)) for name, rate in one.items()}
        assert {name: rate(iteration) for name, rate in four.items()} == expected


def test_rates_of_zero_hold_a_group_still():
    head = make_head(6)
    optimizer = make_optimizer(head, tau_lr_init=0.0, tau_lr_final=0.0)
    before = head.gaussians.tau.detach().clone()
    optimizer.set_learning_rates(100)
    step_on_random_loss(head, optimizer, seed=1)
    torch.testing.assert_close(head.gaussians.tau.detach(), before)


def test_paper_rates_are_those_of_the_design():
    rates = {
        name: (rate(0), rate(30_000), rate(80_000)) for name, rate in schedules(OptimizationParams()).items()
    }
    assert rates["xyz"] == pytest.approx((8e-4, 8e-6, 8e-6))
    assert rates["tau"] == pytest.approx((1e-3, 1e-5, 1e-5))
    assert rates["deformation"][::2] == pytest.approx((8e-4, 1.6e-6))
    assert rates["triplane"][::2] == pytest.approx((1e-3, 1.6e-6))
    assert rates["log_scale"] == (5e-3,) * 3 and rates["rotation"] == (1e-3,) * 3
    assert rates["opacity_mlp"] == (1e-4,) * 3
    assert rates["sh_mlp"] == (1e-3,) * 3 and rates["sh_rest"] == (5e-5,) * 3


@pytest.mark.parametrize("sh_degree", [0, 3])
def test_every_parameter_is_in_exactly_one_group(sh_degree):
    head = make_head(sh_degree=sh_degree)
    grouped = [p for parameters in parameter_groups(head).values() for p in parameters]
    assert len(grouped) == len({id(p) for p in grouped}) == len(list(head.parameters()))


def test_unknown_group_name_is_an_error_at_start():
    rates = schedules(OptimizationParams())
    with pytest.raises(ValueError, match="triplnae"):
        HeadOptimizer(make_head(), {**rates, "triplnae": constant(1e-3)})
    del rates["tau"]
    with pytest.raises(ValueError, match="tau"):
        HeadOptimizer(make_head(), rates)


def test_learning_rates_reach_all_groups():
    optimizer = make_optimizer(make_head(scaffold=True))
    current = optimizer.set_learning_rates(30_000)
    in_groups = {group.name: group.rate for group in optimizer.adam.groups}
    assert in_groups == {name: current[name] for name in in_groups}
    assert in_groups["tau"] == pytest.approx(1e-5)
    assert in_groups.keys() == current.keys()


def test_tau_is_learned_on_the_sphere_by_riemannian_adam():
    head = make_head()
    optimizer = make_optimizer(head)
    assert [group.name for group in optimizer.adam.groups if group.on_sphere] == ["tau"]
    before = head.gaussians.tau.detach().clone()
    step_on_random_loss(head, optimizer, seed=0)
    moved = head.gaussians.tau.detach()
    assert (moved - before).abs().max() > 1e-4
    torch.testing.assert_close(moved.norm(dim=-1), torch.ones_like(moved[..., 0]))
    # A Riemannian step follows the gradient's tangent part: adding a multiple of tau itself to the gradient
    # changes nothing.
    steps = []
    for radial in (0.0, 100.0):
        head = make_head()
        optimizer = make_optimizer(head)
        tau = head.gaussians.tau
        direction = torch.randn(tau.shape, generator=torch.Generator().manual_seed(1))
        tau.grad = direction + radial * tau.detach()
        optimizer.step()
        steps.append(tau.detach().clone())
    torch.testing.assert_close(steps[0], steps[1], rtol=0, atol=1e-5)


def test_survivors_keep_their_moments_and_fresh_rows_start_with_none():
    head = make_head(num_gaussians=10, scaffold=True)
    optimizer = make_optimizer(head)
    for seed in range(3):
        step_on_random_loss(head, optimizer, seed)
    before = {name: optimizer.adam.moments[p] for name, p in head.gaussians.named_parameters()}
    rows = torch.tensor([2, 3, 9, 3])
    is_fresh = torch.tensor([False, False, False, True])
    optimizer.gather_gaussians_(rows, is_fresh, {})
    for name, parameter in head.gaussians.named_parameters():
        moments = optimizer.adam.moments[parameter]
        assert float(moments.step) == float(before[name].step) == 3
        for now, then in zip(moments[1:], before[name][1:]):
            assert torch.equal(now[:3], then[rows[:3]])
            assert now[:3].abs().sum() > 0
            assert now[3].abs().sum() == 0
    # The new parameters are the ones that are optimised.
    gathered = {name: value.detach().clone() for name, value in head.gaussians.named_parameters()}
    step_on_random_loss(head, optimizer, seed=9)
    for name, value in head.gaussians.named_parameters():
        assert not torch.equal(value.detach(), gathered[name]), name


def test_clone_inherits_tau():
    head = make_head(num_gaussians=6)
    optimizer = make_optimizer(head)
    step_on_random_loss(head, optimizer, seed=0)
    tau = head.gaussians.tau.detach().clone()
    optimizer.gather_gaussians_(torch.tensor([0, 5, 5]), torch.tensor([False, False, True]), {})
    assert torch.equal(head.gaussians.tau.detach(), tau[[0, 5, 5]])


def test_restored_state_continues_bit_for_bit():
    def advance(head, optimizer, seeds):
        for seed in seeds:
            step_on_random_loss(head, optimizer, seed)

    head = make_head()
    optimizer = make_optimizer(head)
    advance(head, optimizer, range(4))
    model_state = {k: v.clone() for k, v in head.state_dict().items()}
    moments = {k: v.clone() for k, v in optimizer.state_tensors().items()}
    advance(head, optimizer, range(4, 8))

    other = make_head(seed=1)
    other.load_state_dict(model_state)
    resumed = make_optimizer(other)
    resumed.load_state_tensors_(moments)
    advance(other, resumed, range(4, 8))
    for name, value in head.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_flat_tau_moves_as_plain_adam_moves_it_and_is_normalised_where_it_is_used(camera):
    head = make_head(6, flat_tau=True)
    optimizer = make_optimizer(head)
    plain = torch.nn.Parameter(head.gaussians.tau.detach().clone())
    adam = torch.optim.Adam([plain], lr=1e-3, eps=1e-15)
    generator = torch.Generator().manual_seed(0)
    optimizer.set_learning_rates(0)
    for _ in range(3):
        head.gaussians.tau.grad = torch.randn(plain.shape, generator=generator)
        plain.grad = head.gaussians.tau.grad.clone()
        optimizer.step()
        adam.step()
        torch.testing.assert_close(head.gaussians.tau.detach(), plain.detach())
    assert (head.gaussians.tau.norm(dim=-1) - 1).abs().max() > 1e-5
    expression = torch.randn(5)
    before = head(camera, Drive(expression))
    with torch.no_grad():
        head.gaussians.tau.mul_(3)
    torch.testing.assert_close(head(camera, Drive(expression)).sh, before.sh)
