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
