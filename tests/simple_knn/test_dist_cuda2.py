"""`distCUDA2` against all pairs, and where there are too few points."""

import pytest
import torch

from simple_knn._C import distCUDA2


def all_pairs(points):
    squared = torch.cdist(points.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist") ** 2
    squared.fill_diagonal_(torch.inf)
    return squared.sort(1).values[:, :3].mean(1)


@pytest.mark.parametrize("num", [4, 5, 300])
def test_equals_all_pairs(num):
    points = torch.randn(num, 3, generator=torch.Generator().manual_seed(num))
    result = distCUDA2(points)
    assert result.shape == (num,) and result.dtype == torch.float32
    torch.testing.assert_close(result, all_pairs(points).float(), rtol=1e-5, atol=0)


def test_duplicates_are_neighbours_at_distance_zero():
    points = torch.tensor([[0.0, 0, 0]] * 3 + [[1.0, 0, 0]])
    torch.testing.assert_close(distCUDA2(points), torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0]))
    assert not distCUDA2(points[:3]).any()


@pytest.mark.parametrize("num", [0, 1, 2, 3])
def test_few_points_use_the_neighbours_there_are(num):
    points = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [0, 4.0, 0]])[:num]
    expected = {0: [], 1: [0.0], 2: [4.0, 4.0], 3: [10.0, 12.0, 18.0]}[num]
    assert distCUDA2(points).tolist() == expected


def test_gradient_carrying_points_are_accepted():
    points = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    result = distCUDA2(points.clone().requires_grad_())
    assert not result.requires_grad and torch.equal(result, distCUDA2(points))


@pytest.mark.parametrize("points", [torch.zeros(5, 2), torch.zeros(3), torch.full((5, 3), torch.nan)])
def test_wrong_points_are_named(points):
    with pytest.raises(ValueError, match="points"):
        distCUDA2(points)


@pytest.mark.gpu
def test_result_stays_on_the_device_of_the_points():
    points = torch.randn(100, 3)
    result = distCUDA2(points.cuda())
    assert result.is_cuda
    torch.testing.assert_close(result.cpu(), distCUDA2(points))
