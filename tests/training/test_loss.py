import pytest
import torch

from arguments import OptimizationParams
from training.loss import TrainingLoss
from utils.metrics import ssim


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_loss_mixes_l1_and_dissimilarity(weight):
    image, truth = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    loss = TrainingLoss(OptimizationParams(lambda_dssim=weight, lambda_vgg=0.0))(image, truth)
    expected = (1 - weight) * (image - truth).abs().mean() + weight * (1 - ssim(image, truth))
    torch.testing.assert_close(loss, expected)


def test_missing_vgg_weights_switch_the_perceptual_term_off_and_say_so():
    assert "--vgg_weights" in TrainingLoss(OptimizationParams(lambda_vgg=0.01)).notice
    assert not TrainingLoss(OptimizationParams(lambda_vgg=0.0)).notice
