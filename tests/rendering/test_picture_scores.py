import pytest
import torch

from rendering.picture_scores import score_pictures
from utils.metrics import score


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_scores_of_several_pictures_are_those_of_each(device):
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(4, 3, 40, 30, generator=generator)
    # Beyond [0, 1] too.
    image = truth + 0.3 * torch.randn(truth.shape, generator=generator)
    scores = score_pictures(image.to(device), truth.to(device))
    for i in range(4):
        expected = score(image[i].double(), truth[i].double())
        for found, value in zip(scores, expected, strict=True):
            assert found[i].item() == pytest.approx(value.item(), rel=1e-5)
