import pytest
import torch

from arguments import OptimizationParams
from gaussian_renderer import render
from rendering import picture_scores
from scene.cameras import Camera
from scene.views import Drive, SideView
from tests.scene.heads import EXPRESSION_SIZE, make_head
from training.loss import TrainingLoss, outside_loss
from utils.metrics import ssim


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_loss_mixes_l1_and_dissimilarity(weight):
    image, truth = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    loss = TrainingLoss(OptimizationParams(lambda_dssim=weight, lambda_vgg=0.0))(image, truth)
    expected = (1 - weight) * (image - truth).abs().mean() + weight * (1 - ssim(image, truth))
    torch.testing.assert_close(loss, expected)


def test_ssim_loss_vanishes_for_equal_images_only():
    truth = torch.rand(3, 16, 16)
    unlike = TrainingLoss(OptimizationParams(lambda_dssim=1.0, lambda_vgg=0.0))
    assert unlike(truth, truth).item() == pytest.approx(0, abs=1e-6)
    # Structure that is the opposite of the truth's has a negative covariance.
    assert unlike(1 - truth, truth) > 1


@pytest.mark.parametrize(
    "has_kernels, dtype, fused",
    [(True, torch.float32, True), (True, torch.float64, False), (False, torch.float32, False)],
)
def test_fused_ssim_is_taken_for_float32_where_its_kernels_can_run(monkeypatch, has_kernels, dtype, fused):
    monkeypatch.setattr(picture_scores, "has_kernels", lambda device: has_kernels)
    monkeypatch.setattr(picture_scores, "fused_ssim", lambda image, truth: torch.tensor(5.0))
    image, truth = torch.rand(2, 3, 20, 24, dtype=dtype)
    loss = TrainingLoss(OptimizationParams(lambda_dssim=1.0, lambda_vgg=0.0))(image, truth)
    assert (loss.item() == -4) is fused


@pytest.mark.gpu
def test_loss_on_the_gpu_equals_the_loss_on_the_cpu():
    images = torch.rand(2, 3, 70, 90, generator=torch.Generator().manual_seed(0))
    measure = TrainingLoss(OptimizationParams(lambda_vgg=0.0))
    losses, gradients = [], []
    for device, dtype in (("cuda", torch.float32), ("cpu", torch.float64)):
        image, truth = images.to(device, dtype)
        image.requires_grad_()
        loss = measure(image, truth)
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, image)[0].double().cpu())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-9)


def test_missing_vgg_weights_switch_the_perceptual_term_off_and_say_so():
    assert "--vgg_weights" in TrainingLoss(OptimizationParams(lambda_vgg=0.01)).notice
    assert not TrainingLoss(OptimizationParams(lambda_vgg=0.0)).notice


def test_alpha_that_a_side_view_sees_outside_costs_and_inside_costs_nothing():
    head, pose = make_head(30), torch.diag(torch.tensor([1.0, -1, -1, 1]))
    pose[2, 3] = 2.0
    camera = Camera(pose, 40.0, 40.0, 16.0, 12.0, 32, 24)
    with torch.no_grad():
        head.gaussians.opacity_offset.add_(3.0)
    expression = torch.randn(EXPRESSION_SIZE)
    alpha = render(camera, head(camera, Drive(expression)), torch.zeros(3)).alpha
    left = torch.zeros(alpha.shape, dtype=torch.bool)
    left[:, : alpha.shape[1] // 2] = True
    assert (alpha[left] > 0.01).any() and (alpha[~left] > 0.01).any()
    loss = outside_loss(alpha, SideView(pose, left))
    torch.testing.assert_close(loss.detach(), alpha.detach()[left].sum() / alpha.numel())
    assert outside_loss(alpha, SideView(pose, alpha < -1)) == 0
    loss.backward()
    assert head.gaussians.opacity_offset.grad.max() > 0  # downhill is less opaque
