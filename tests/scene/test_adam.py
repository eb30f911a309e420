"""Our Adam against the libraries' own, and its kernel against it."""

import geoopt
import pytest
import torch
from torch import nn

from scene.adam import Adam, Group

EPS = 1e-15


def random_gradients(shape: tuple[int, ...], count: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        # As different in size as those of a training.
        yield 10 ** (4 * torch.rand(1, generator=generator) - 6) * torch.randn(shape, generator=generator)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_plain_parameters_move_as_torch_moves_them(decay):
    start = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    group = Group("g", [ours], 1e-2, decay)
    adam = Adam([group], EPS)
    oracle = torch.optim.AdamW([theirs], lr=1e-2, eps=EPS, weight_decay=decay)
    for step, grad in enumerate(random_gradients(start.shape, 200)):
        group.rate = oracle.param_groups[0]["lr"] = 1e-2 * 0.99**step
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        adam.step()
        oracle.step()
    assert ours.grad is None
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-6)


def test_quaternions_move_as_geoopt_moves_them_for_a_thousand_steps():
    start = nn.functional.normalize(torch.randn(6, 4, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
    ours = nn.Parameter(start.clone())
    theirs = geoopt.ManifoldParameter(start.clone(), manifold=geoopt.Sphere())
    group = Group("tau", [ours], 1e-3, on_sphere=True)
    adam, oracle = Adam([group], EPS), geoopt.optim.RiemannianAdam([theirs], lr=1e-3, eps=EPS)
    for grad in random_gradients(start.shape, 1000):
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        adam.step()
        oracle.step()
    assert (ours - start).abs().max() > 0.02
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.detach().norm(dim=-1), torch.ones(6, 4))


def test_a_parameter_without_a_gradient_stays_and_counts_no_step():
    moved, still = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    adam = Adam([Group("a", [moved], 1e-2), Group("b", [still], 1e-2)], EPS)
    moved.grad = torch.ones(3)
    adam.step()
    assert torch.equal(still, torch.ones(3)) and still not in adam.moments
    still.grad = torch.ones(3)
    adam.step()
    assert float(adam.moments[still].step) == 1
    # The first step of Adam is as long as its rate.
    torch.testing.assert_close(still.detach(), torch.full((3,), 0.99))


@pytest.mark.gpu
def test_the_kernel_moves_parameters_as_the_operations_do():
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "plain": (1001, 3),
        "aligned": (64, 8, 14),
        "scalars": (5,),
        "empty": (7, 0),
        "tau": (333, 4, 4),
    }
    starts = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    starts["tau"] = nn.functional.normalize(starts["tau"], dim=-1)

    def run(device: str) -> tuple[dict, dict]:
        parameters = {name: nn.Parameter(start.to(device)) for name, start in starts.items()}
        groups = [
            Group(
                name, [parameter], torch.tensor(1e-2, device=device), 0.1 * (name == "aligned"), name == "tau"
            )
            for name, parameter in parameters.items()
        ]
        adam = Adam(groups, EPS)
        for step in range(100):
            for seed, (name, parameter) in enumerate(parameters.items()):
                if step % 3 or name != "scalars":
                    (grad,) = random_gradients(shapes[name], 1, seed=10 * step + seed)
                    parameter.grad = grad.to(device)
            adam.step()
        return {n: p.detach().cpu() for n, p in parameters.items()}, {
            n: adam.moments.get(p) for n, p in parameters.items()
        }

    (by_kernel, moments), (by_operations, expected) = run("cuda"), run("cpu")
    for name in shapes:
        torch.testing.assert_close(by_kernel[name], by_operations[name], rtol=0, atol=1e-5, msg=name)
        if expected[name] is not None:
            assert float(moments[name].step) == float(expected[name].step)
            torch.testing.assert_close(
                moments[name].exp_avg_sq.cpu(), expected[name].exp_avg_sq, rtol=1e-4, atol=1e-12
            )
