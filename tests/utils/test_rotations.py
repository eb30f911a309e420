import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.transform import Rotation

from utils.rotations import (
    matrix_to_quaternion,
    principal_axes,
    quaternion_multiply,
    quaternion_to_matrix,
    rigid_motion,
    sample_unit_quaternions,
)


def _random_quaternions(num, seed=0):
    return torch.randn(num, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _scipy(quaternions):
    # scipy stores xyzw.
    return Rotation.from_quat(quaternions.roll(-1, dims=-1).numpy())


def test_matrix_agrees_with_scipy_for_quaternions_of_any_length():
    quaternions = _random_quaternions(50)
    expected = torch.from_numpy(_scipy(quaternions).as_matrix())
    torch.testing.assert_close(quaternion_to_matrix(quaternions), expected, rtol=0, atol=1e-12)


def test_batched_matrices_equal_those_of_a_loop():
    quaternions = _random_quaternions(12).view(3, 4, 4)
    batched = quaternion_to_matrix(quaternions)
    assert batched.shape == (3, 4, 3, 3)
    for i in range(3):
        for j in range(4):
            assert torch.equal(batched[i, j], quaternion_to_matrix(quaternions[i, j]))


def test_opposite_quaternions_are_the_same_rotation():
    quaternions = _random_quaternions(8)
    assert torch.equal(quaternion_to_matrix(quaternions), quaternion_to_matrix(-quaternions))


def test_zero_quaternion_is_the_identity():
    assert torch.equal(quaternion_to_matrix(torch.zeros(4)), torch.eye(3))


def test_matrix_gradient_agrees_with_finite_differences():
    assert torch.autograd.gradcheck(quaternion_to_matrix, _random_quaternions(5).requires_grad_())


def test_product_rotates_by_the_second_and_then_by_the_first():
    first, second = _random_quaternions(20, seed=1), _random_quaternions(20, seed=2)
    product = quaternion_to_matrix(quaternion_multiply(first, second))
    expected = torch.from_numpy((_scipy(first) * _scipy(second)).as_matrix())
    torch.testing.assert_close(product, expected, rtol=0, atol=1e-12)


def test_product_length_is_the_product_of_lengths_and_shapes_broadcast():
    first, second = _random_quaternions(6, seed=1)[:, None], _random_quaternions(5, seed=2)
    product = quaternion_multiply(first, second)  # [6, 5, 4]
    torch.testing.assert_close(product.norm(dim=-1), first.norm(dim=-1) * second.norm(dim=-1))
    for i in range(6):
        for j in range(5):
            assert torch.equal(product[i, j], quaternion_multiply(first[i, 0], second[j]))


def test_quaternion_of_a_matrix_agrees_with_scipy_and_comes_back():
    for matrix in quaternion_to_matrix(_random_quaternions(20)):
        quaternion = matrix_to_quaternion(matrix)
        expected = torch.from_numpy(Rotation.from_matrix(matrix.numpy()).as_quat(canonical=True)).roll(1)
        torch.testing.assert_close(quaternion, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(quaternion_to_matrix(quaternion), matrix, rtol=0, atol=1e-12)


def test_samples_are_unit_and_follow_the_uniform_law_of_the_sphere():
    samples = sample_unit_quaternions(20_000, torch.Generator().manual_seed(3))
    torch.testing.assert_close(samples.norm(dim=-1), torch.ones(20_000), rtol=0, atol=1e-6)
    # On S^3 the square of one coordinate follows Beta(1/2, 3/2); signs are fair.
    for coordinate in samples.double().numpy().T:
        assert stats.kstest(coordinate**2, stats.beta(0.5, 1.5).cdf).pvalue > 1e-3
        assert abs(np.sign(coordinate).mean()) < 4 / np.sqrt(20_000)
    covariance = samples.T @ samples / 20_000
    torch.testing.assert_close(covariance, torch.eye(4) / 4, rtol=0, atol=0.01)


def test_samples_repeat_with_the_seed_of_the_generator():
    first = sample_unit_quaternions(4, torch.Generator().manual_seed(1))
    assert torch.equal(first, sample_unit_quaternions(4, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, sample_unit_quaternions(4, torch.Generator().manual_seed(2)))


def test_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"quaternions.*\[\.\.\., 4\].*\[2, 3\]"):
        quaternion_to_matrix(torch.zeros(2, 3))


def test_a_rigid_motion_is_rigid_and_turns_by_its_vector():
    motion = rigid_motion(torch.tensor([0.0, 0.2, 0.0, 1.0, 2.0, 3.0], dtype=torch.float64))
    expected = torch.from_numpy(Rotation.from_rotvec([0.0, 0.2, 0.0]).as_matrix())
    torch.testing.assert_close(motion[:3, :3], expected)
    assert motion[:3, 3].tolist() == [1, 2, 3] and motion[3].tolist() == [0, 0, 0, 1]


def test_gradient_of_a_rigid_motion_is_that_of_differences():
    vector = 0.1 * torch.randn(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(rigid_motion, (vector.requires_grad_(),))
    assert torch.autograd.gradcheck(rigid_motion, (torch.zeros(6, dtype=torch.float64).requires_grad_(),))


def test_principal_axes_make_the_covariance_again_for_any_rotation():
    generator = torch.Generator().manual_seed(0)
    rotations = torch.randn(200, 4, generator=generator, dtype=torch.float64)
    # A half turn has no real part.
    rotations[:3] = torch.eye(4, dtype=torch.float64)[1:]
    scales = torch.rand(200, 3, generator=generator, dtype=torch.float64) + 1e-3
    factor = quaternion_to_matrix(rotations) * scales[:, None]
    covariance = factor @ factor.transpose(1, 2)
    rows, columns = torch.triu_indices(3, 3)
    found_scales, found_rotations = principal_axes(covariance[:, rows, columns])
    torch.testing.assert_close(found_scales.sort(dim=1).values, scales.sort(dim=1).values.float())
    torch.testing.assert_close(found_rotations.norm(dim=1), torch.ones(200))
    again = quaternion_to_matrix(found_rotations) * found_scales[:, None]
    torch.testing.assert_close(again @ again.transpose(1, 2), covariance.float(), rtol=1e-4, atol=1e-6)
