import torch

from tests.scene.heads import make_head
from training.averaging import WeightAverage


def test_the_average_of_moving_weights_is_the_exponential_one():
    head, average = make_head(), WeightAverage(0.5)
    bias = head.deformation.xyz_head.bias
    values = [0.0, 1.0, 5.0, 2.0]
    for value in values:
        with torch.no_grad():
            bias.fill_(value)
        average.update_(head)
    expected = values[0]
    for k, value in enumerate(values[1:], start=1):
        expected += max(0.5, 1 / (k + 1)) * (value - expected)
    torch.testing.assert_close(average.weights["deformation.xyz_head.bias"], torch.full((3,), expected))
    assert (average.averaged(head).deformation.xyz_head.bias == expected).all()
    assert (bias == values[-1]).all()


def test_tau_of_the_average_is_on_the_sphere():
    head, average = make_head(), WeightAverage(0.9)
    for _ in range(3):
        with torch.no_grad():
            head.gaussians.tau.copy_(
                torch.nn.functional.normalize(torch.randn_like(head.gaussians.tau), dim=-1)
            )
        average.update_(head)
    norms = average.averaged(head).gaussians.tau.norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_another_number_of_gaussians_starts_anew():
    head, average = make_head(), WeightAverage(0.9)
    average.update_(head)
    head.gaussians.replace_(head.gaussians.gather_rows(torch.arange(3)))
    assert average.weights["gaussians.xyz"].shape[0] != 3
    average.update_(head)
    assert len(average.averaged(head).gaussians) == 3


def test_without_updates_it_is_the_head_itself():
    head = make_head()
    assert WeightAverage(0.9).averaged(head) is head
