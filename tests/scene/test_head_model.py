import numpy as np
import pytest
import torch

from arguments import PipelineParams
from gaussian_renderer import render
from scene.cameras import Camera
from scene.head_model import GaussianHead
from scene.views import Drive
from tests.scene.heads import EXPRESSION_SIZE, make_head


def activate_everything(head: GaussianHead) -> GaussianHead:
    """Give every part a visible effect: a fresh head hardly moves."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for layer in (
            head.deformation.xyz_head,
            head.deformation.rotation_head,
            head.deformation.log_scale_head,
        ):
            layer.weight.copy_(0.3 * torch.randn(layer.weight.shape, generator=generator))
        head.triplane.planes.mul_(3)
        for parameter in head.decoder.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return head


def test_splats_are_activated_and_shaped(camera):
    splats = activate_everything(make_head(9, sh_degree=2))(camera, Drive(torch.randn(EXPRESSION_SIZE)))
    assert splats.means.shape == (9, 3) and splats.sh.shape == (9, 9, 3)
    assert splats.opacities.shape == (9,) and splats.opacities.min() > 0 and splats.opacities.max() < 1
    assert splats.scales.min() > 0
    torch.testing.assert_close(splats.rotations.norm(dim=1), torch.ones(9))


def test_rendering_twice_gives_the_same_bytes_and_changes_nothing(camera):
    head = activate_everything(make_head(30))
    before = {name: value.clone() for name, value in head.state_dict().items()}
    expression = torch.randn(EXPRESSION_SIZE)
    first, second = (render(camera, head(camera, Drive(expression)), torch.zeros(3)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()
    assert first.alpha.max() > 0.05
    assert all(torch.equal(value, head.state_dict()[name]) for name, value in before.items())


def test_warm_up_ignores_the_expression(camera):
    head = activate_everything(make_head(9))
    expressions = torch.randn(2, EXPRESSION_SIZE)
    moving = [head(camera, Drive(expression)) for expression in expressions]
    assert not torch.allclose(moving[0].means, moving[1].means)
    head.deforms = False
    still = [head(camera, Drive(expression)) for expression in expressions]
    assert torch.equal(still[0].means, head.gaussians.xyz) and torch.equal(still[0].sh, still[1].sh)


def test_view_directions_are_those_of_the_deformed_means():
    head = activate_everything(make_head(9))
    camera_to_world = np.eye(4)
    camera_to_world[:3, 3] = 0.1, -0.2, 1.5
    camera = Camera.from_camera_to_world(camera_to_world, 40.0, 40.0, 16.0, 12.0, 32, 24)
    seen = []
    decoder_forward = head.decoder.forward
    head.decoder.forward = lambda features, directions, degree: (
        seen.append(directions) or decoder_forward(features, directions, degree)
    )
    splats = head(camera, Drive(torch.randn(EXPRESSION_SIZE)))
    expected = splats.means - torch.tensor([0.1, -0.2, 1.5])
    torch.testing.assert_close(seen[0], expected / expected.norm(dim=1, keepdim=True))
    assert (splats.means - head.gaussians.xyz).abs().max() > 1e-3


@pytest.mark.parametrize("scaffold", [False, True])
def test_every_parameter_learns_from_one_image(camera, scaffold):
    head = activate_everything(make_head(40, sh_degree=0 if scaffold else 1, scaffold=scaffold))
    with torch.no_grad():
        head.gaussians.log_scale.fill_(-2.0)
        head.gaussians.log_scale[:, 0] = -3.0  # a rotation of a ball would change nothing
    turned = camera.world_to_camera.clone()  # the torso is not where the head is
    turned[:3, 3] += torch.tensor([0.05, 0.0, 0.1])
    image = render(camera, head(camera, Drive(torch.randn(EXPRESSION_SIZE), turned)), torch.zeros(3)).image
    (image - 0.3).square().mean().backward()
    for name, parameter in head.named_parameters():
        if parameter.numel():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("scaffold", [False, True])
def test_saved_state_builds_the_same_head(camera, scaffold):
    head = activate_everything(make_head(11, sh_degree=2, scaffold=scaffold))
    head.active_sh_degree, head.deforms = 1, False
    rebuilt = GaussianHead.from_state(head.state_dict(), head.metadata())
    expression = torch.randn(EXPRESSION_SIZE)
    for a, b in zip(head(camera, Drive(expression)), rebuilt(camera, Drive(expression)), strict=True):
        assert a is b is None or torch.equal(a, b)


def test_python_pipeline_draws_the_same_picture(camera):
    splats = activate_everything(make_head(40, sh_degree=3))(camera, Drive(torch.randn(EXPRESSION_SIZE)))
    background = torch.tensor([0.2, 0.5, 0.9])
    expected = render(camera, splats, background)
    drawn = render(
        camera,
        splats,
        background,
        pipeline=PipelineParams(convert_SHs_python=True, compute_cov3D_python=True),
    )
    torch.testing.assert_close(drawn.image, expected.image, rtol=0, atol=2e-4)


def test_crop_of_the_camera_renders_the_crop_of_the_picture(camera):
    camera = camera.scaled(160, 120)
    splats = activate_everything(make_head(40))(camera, Drive(torch.randn(EXPRESSION_SIZE)))
    # The Jacobian is clamped at 0.15 x the width outside the picture, here 13 px outside the crop: no splat
    # reaches so far.
    splats = splats._replace(scales=splats.scales.clamp_max(0.03))
    whole = render(camera, splats, torch.ones(3)).image
    part = render(camera.cropped(25, 15, 85, 65), splats, torch.ones(3)).image
    assert part.min() < 0.9
    torch.testing.assert_close(part, whole[:, 15:80, 25:110], rtol=0, atol=1e-4)


def test_head_pose_moves_a_head_that_is_conditioned_on_it_and_no_other(camera):
    expression = torch.randn(EXPRESSION_SIZE)
    turned = camera.world_to_camera.clone()
    turned[:3, 3] += torch.tensor([0.05, 0.0, 0.1])
    for conditioned in (True, False):
        head = activate_everything(make_head(9, pose_conditioning=conditioned, torso_membership=False))
        head.mean_pose.copy_(camera.world_to_camera[:3])
        at_mean, filmed, unsaid = (
            head(camera, Drive(expression, pose)) for pose in (camera.world_to_camera, turned, None)
        )
        assert torch.equal(at_mean.means, unsaid.means)
        assert torch.allclose(at_mean.means, filmed.means) is not conditioned


def test_debug_names_the_tensor_that_is_not_finite(camera):
    splats = make_head(5)(camera, Drive(torch.randn(EXPRESSION_SIZE)))
    render(camera, splats, torch.zeros(3), pipeline=PipelineParams(debug=True))
    scales = splats.scales.detach().clone()
    scales[2, 1] = torch.nan
    with pytest.raises(FloatingPointError, match="scales: 1 of 15"):
        render(camera, splats._replace(scales=scales), torch.zeros(3), pipeline=PipelineParams(debug=True))
