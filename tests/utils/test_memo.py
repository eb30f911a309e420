import copy

import pytest
import torch

from utils.memo import Memo


@pytest.fixture
def doubled():
    """A function of a tensor that counts how often it was computed."""
    memo, count = Memo(), []

    def run(tensor: torch.Tensor) -> torch.Tensor:
        return memo((tensor,), lambda: count.append(1) or 2 * tensor)

    return run, count


def test_computed_once_until_it_is_written_to(doubled):
    run, count = doubled
    tensor = torch.ones(3)
    assert run(tensor) is run(tensor) and len(count) == 1
    for number, write in enumerate(
        (tensor.zero_, lambda: tensor[:1].add_(1), lambda: tensor.copy_(tensor + 1))
    ):
        write()
        assert torch.equal(run(tensor), 2 * tensor) and len(count) == number + 2


def test_an_equal_tensor_is_another_one(doubled):
    run, count = doubled
    tensor = torch.ones(3)
    run(tensor)
    run(copy.deepcopy(tensor))
    assert len(count) == 2


def test_nothing_of_inference_mode_is_left_for_training(doubled):
    run, count = doubled
    tensor, weight = torch.ones(3), torch.ones(3, requires_grad=True)
    with torch.inference_mode():
        run(tensor)
        run(torch.ones(3))
    # Raises for a tensor of inference mode.
    (run(tensor) * weight).sum().backward()
    assert len(count) == 3 and torch.equal(weight.grad, 2 * tensor)


def test_what_has_a_gradient_is_computed_every_time(doubled):
    run, count = doubled
    leaf = torch.ones(3, requires_grad=True)
    for _ in range(2):
        run(leaf).sum().backward()
    assert len(count) == 2 and torch.equal(leaf.grad, torch.full((3,), 4.0))
