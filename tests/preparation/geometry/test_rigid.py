import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from preparation.geometry.rigid import Poses, align, exp_so3, log_so3, nearest_rotation, project


def random_rotations(count: int) -> np.ndarray:
    return exp_so3(np.random.default_rng(0).normal(size=(count, 3)))


def test_log_inverts_exp():
    vectors = np.random.default_rng(0).normal(size=(50, 3)) * np.logspace(-9, 0, 50)[:, None]
    # A difference of matrix entries near 1 keeps 16 digits of them, not of the angle.
    assert np.allclose(log_so3(exp_so3(vectors)), vectors, atol=1e-14, rtol=1e-7)


def test_exp_turns_by_a_rotation_vector():
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    assert np.allclose(exp_so3(vectors), Rotation.from_rotvec(vectors).as_matrix())


def test_nearest_rotation_never_mirrors_and_no_other_is_nearer():
    mirrored = np.diag([1.0, 1.0, -1.0]) + 0.1 * np.random.default_rng(1).normal(size=(20, 3, 3))
    nearest = nearest_rotation(mirrored)
    assert np.allclose(np.linalg.det(nearest), 1)
    others = Rotation.random(500, random_state=2).as_matrix()
    distances = np.linalg.norm(others[:, None] - mirrored, axis=(2, 3))
    assert (np.linalg.norm(nearest - mirrored, axis=(1, 2)) < distances).all()


def test_align_recovers_a_similarity():
    random = np.random.default_rng(2)
    source, rotation = random.normal(size=(5, 30, 3)), random_rotations(5)
    target = 2.5 * source @ rotation.transpose(0, 2, 1) + random.normal(size=(5, 1, 3))
    found = align(source, target)
    assert np.allclose(found.scale, 2.5)
    assert np.allclose(found.rotation, rotation)
    assert np.allclose(found.apply(source), target)


def test_projection_is_a_pinhole():
    pixels = project(np.array([[0.5, -0.25, 2.0]]), 100.0, np.array([32.0, 24.0]))
    assert pixels == pytest.approx(np.array([[57.0, 11.5]]))


def test_moving_poses_turns_the_head_about_its_own_origin():
    poses = Poses(np.eye(3)[None], np.array([[0.0, 0.0, 3.0]]))
    moved = poses.moved(np.array([[0.0, np.pi / 2, 0.0]]), np.array([[0.1, 0.0, 0.0]]))
    assert np.allclose(moved.apply(np.zeros((1, 3)))[0], [[0.1, 0, 3]])
    assert np.allclose(moved.apply(np.array([[1.0, 0, 0]]))[0], [[0.1, 0, 2]])
