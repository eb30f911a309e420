import pytest
import torch

from scene.blendshapes import MOTION_UNIT, OFFSET_SIZE, Blendshapes
from scene.head_model import GaussianHead
from scene.views import Drive
from tests.scene.heads import EXPRESSION_SIZE, make_head


def test_blend_is_the_weighted_sum_of_a_gaussians_own_bases():
    torch.manual_seed(0)
    blendshapes = Blendshapes(signal_size=4, num_blendshapes=3)
    bases, signal = torch.randn(5, 3, OFFSET_SIZE), torch.randn(4)
    blend = blendshapes(bases, signal)
    weights = blendshapes.weights(signal).tolist()
    for n in range(5):
        expected = sum(w * bases[n, b] for b, w in enumerate(weights))
        torch.testing.assert_close(blend.xyz[n], MOTION_UNIT * expected[:3])
        torch.testing.assert_close(blend.rotation[n], expected[3:7])
        torch.testing.assert_close(blend.log_scale[n], expected[7:10])
        torch.testing.assert_close(blend.opacity_logit[n], expected[10])
        torch.testing.assert_close(blend.color[n], expected[11:])


@pytest.mark.parametrize("has_two", [False, True])
def test_blend_and_its_gradients_are_those_of_the_sum_written_out(has_two):
    torch.manual_seed(0)
    blendshapes = Blendshapes(signal_size=4, num_blendshapes=3).double()
    bases = torch.randn(7, 3, OFFSET_SIZE).double().requires_grad_()
    signals = torch.randn(2, 4).double() if has_two else torch.randn(4).double()
    is_second = torch.arange(7) % 3 == 0
    shares = torch.stack([~is_second, is_second], dim=1).double() if has_two else None
    blend = torch.cat(
        [part.view(7, -1) for part in blendshapes(bases, signals.requires_grad_(), shares)], dim=1
    )
    weights = blendshapes.weights(signals)
    of_rows = weights[is_second.long()] if has_two else weights.expand(7, -1)  # [7, 3]
    unit = torch.ones(OFFSET_SIZE).double()
    unit[:3] = MOTION_UNIT
    expected = unit * (of_rows[:, :, None] * bases).sum(dim=1)
    leaves, pull = [bases, signals, *blendshapes.parameters()], torch.randn_like(expected)
    gradients = torch.autograd.grad(blend, leaves, pull)
    expected_gradients = torch.autograd.grad(expected, leaves, pull)
    for found, wanted in zip((blend, *gradients), (expected, *expected_gradients), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("channel", "field"), [(0, "means"), (4, "rotations"), (7, "scales"), (10, "opacities"), (11, "sh")]
)
def test_basis_changes_its_own_gaussian_and_its_own_quantity(camera, channel, field):
    head, expression = make_head(6), torch.randn(EXPRESSION_SIZE)
    head.gaussians.blendshapes.data.zero_()
    before = head(camera, Drive(expression))
    head.gaussians.blendshapes.data[2, :, channel] = 1.0
    after = head(camera, Drive(expression))
    changed = (getattr(after, field) - getattr(before, field)).abs().flatten(1 if field != "opacities" else 0)
    changed = changed.amax(dim=1) if changed.ndim > 1 else changed
    assert changed[2] > 1e-3
    assert changed[[0, 1, 3, 4, 5]].max() == 0
    if field == "sh":
        assert torch.equal(after.sh[:, 1:], before.sh[:, 1:])


def test_warm_up_is_without_blendshapes(camera):
    head = make_head(6)
    head.gaussians.blendshapes.data.fill_(1.0)
    head.deforms = False
    first, second = (head(camera, Drive(torch.randn(EXPRESSION_SIZE))) for _ in range(2))
    assert torch.equal(first.means, head.gaussians.xyz) and torch.equal(first.opacities, second.opacities)


def test_head_without_blendshapes_saves_and_loads(camera):
    head = make_head(6, num_blendshapes=0)
    assert head.blendshapes is None and head.gaussians.blendshapes.shape == (6, 0, OFFSET_SIZE)
    rebuilt = GaussianHead.from_state(head.state_dict(), head.metadata())
    expression = torch.randn(EXPRESSION_SIZE)
    assert torch.equal(head(camera, Drive(expression)).means, rebuilt(camera, Drive(expression)).means)
