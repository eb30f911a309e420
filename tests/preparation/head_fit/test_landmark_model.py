"""Derivatives against central differences in float64, and what landmarks are worth."""

import numpy as np
import pytest

from parametric_head.landmarks import LOWER_LIP, UPPER_LIDS, UPPER_LIP
from preparation.geometry.landmark_names import LEFT_BROW, OUTLINE
from preparation.geometry.rigid import project
from preparation.head_fit.landmark_model import (
    IRISES,
    landmark_sigmas,
    landmark_trust,
    landmark_weights,
    linearize,
    mean_points,
    points_of_mesh,
    region_weights,
)
from tests.preparation.head_fit.talking_head import FACING, columns, observe, talking_head

STEP = 1e-6
# Relative to the largest entry: what rounding leaves of a central difference of this step.
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def truth():
    return talking_head(4)


@pytest.fixture(scope="module")
def points(truth):
    return points_of_mesh(truth.mesh)


@pytest.fixture(scope="module")
def coefficients(truth):
    """All of them moved, none at zero."""
    return np.random.default_rng(0).uniform(0.05, 0.9, truth.coefficients.shape)


def assert_close(found, wanted):
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE * np.abs(wanted).max())


def changed(coefficients, column, step):
    moved = coefficients.copy()
    moved[:, column] += step
    return moved


def differences(function, size):
    """Central differences of function(column, step) by `size` unknowns. [..., size]"""
    return np.stack(
        [(function(column, STEP) - function(column, -STEP)) / (2 * STEP) for column in range(size)], axis=-1
    )


def test_points_are_the_landmarks_of_the_mesh(truth, points, coefficients):
    found, _ = points.at(coefficients)
    wanted = np.stack([truth.mesh.landmarks(row) for row in coefficients])
    # The mesh's shapes are float32.
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_points_of_the_mean_head_are_in_its_own_axes(truth):
    found, _ = mean_points(truth.head, truth.person.places).at(np.zeros((1, 52)))
    np.testing.assert_allclose(found[0], truth.person.places.of(truth.head.neutral), atol=1e-5)


def test_slopes_of_points_are_their_differences(points, coefficients):
    # Eyes look across in two frames and along in two: about one axis the derivatives are exact.
    across = np.concatenate([columns[:2] for columns in points.gaze])
    along = np.concatenate([columns[2:] for columns in points.gaze])
    coefficients = coefficients.copy()
    coefficients[:2, along] = 0
    coefficients[2:, across] = 0
    _, slopes = points.at(coefficients)
    wanted = differences(lambda *change: points.at(changed(coefficients, *change))[0], 52)
    for rows, still in ((slice(2), along), (slice(2, 4), across)):
        slopes[rows, ..., still] = wanted[rows, ..., still] = 0
    assert_close(slopes, wanted)


def test_slopes_of_a_gaze_both_ways_are_nearly_its_differences(points, coefficients):
    _, slopes = points.at(coefficients)
    wanted = differences(lambda *change: points.at(changed(coefficients, *change))[0], 52)
    for side, iris in enumerate(IRISES):
        block = np.ix_(range(4), iris, range(3), points.gaze[side])
        # To first order in the angle (up to 0.4 here): a turn is not the sum of two turns.
        assert np.abs(slopes[block] - wanted[block]).max() < 0.3 * np.abs(wanted[block]).max()


def test_irises_move_with_the_gaze_alone(points, coefficients):
    _, slopes = points.at(coefficients)
    for side, iris in enumerate(IRISES):
        moving = np.flatnonzero(np.abs(slopes[:, iris]).max(axis=(0, 1, 2)) > 0)
        assert sorted(moving) == sorted(points.gaze[side])


def test_jacobian_is_the_difference_of_projections(truth, points, coefficients):
    gaze = np.concatenate(points.gaze)
    coefficients = coefficients.copy()
    coefficients[:, gaze] = 0
    poses, camera = truth.poses, truth.camera
    observed = np.random.default_rng(1).normal(size=(4, 478, 2)) + camera.center
    linear = linearize(observed, points, poses, coefficients, camera)

    def predicted(column, step):
        turned_to, values = poses, coefficients
        if column < 6:
            vectors = changed(np.zeros((4, 6)), column, step)
            turned_to = poses.moved(vectors[:, :3], vectors[:, 3:])
        else:
            values = changed(coefficients, column - 6, step)
        return project(turned_to.apply(points.at(values)[0]), camera.focal, camera.center)

    np.testing.assert_allclose(linear.residual, observed - predicted(0, 0.0), atol=1e-9)
    assert linear.jacobian.shape == (4, 478, 2, 58)
    assert_close(linear.jacobian, differences(predicted, 58))


def test_by_point_is_the_difference_of_projections(truth, points, coefficients):
    linear = linearize(np.zeros((4, 478, 2)), points, truth.poses, coefficients, truth.camera)
    placed, _ = points.at(coefficients)

    def predicted(axis, step):
        moved = placed + step * np.eye(3)[axis]
        return project(truth.poses.apply(moved), truth.camera.focal, truth.camera.center)

    assert_close(linear.by_point, differences(predicted, 3))


def test_irises_of_shut_eyes_are_hardly_believed(truth, points):
    shut = np.zeros((3, 52))
    shut[1, columns(truth.head, "eyeBlink")] = 0.5
    shut[2, columns(truth.head, "eyeBlink")] = 1
    facing = truth.select([0, 0, 0])._replace(coefficients=shut)
    facing = facing._replace(poses=facing.poses._replace(rotations=np.tile(FACING, (3, 1, 1))))
    trust = landmark_trust(observe(facing)[..., :2], points, facing.poses)
    for iris in IRISES:
        opened, half, closed = trust[:, iris].mean(axis=1)
        assert opened == pytest.approx(region_weights()[iris].mean())
        assert closed < 0.05 * opened
        assert closed < half <= opened
    lids = trust[:, UPPER_LIDS]
    np.testing.assert_allclose(lids[2], lids[0])


def test_landmarks_of_the_far_side_count_little(truth, points):
    angle = np.deg2rad(50.0)
    turned = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    # To the person's left, +x, and to the right.
    rotations = np.stack([FACING @ turned, FACING @ turned.T])
    both = truth.select([0, 0])._replace(coefficients=np.zeros((2, 52)))
    both = both._replace(
        poses=both.poses._replace(rotations=rotations, translations=np.tile([0, 0, 3.0], (2, 1)))
    )
    trust = landmark_trust(observe(both)[..., :2], points, both.poses) / region_weights()
    # In front of the ears: of the person's right and left.
    right, left = 234, 454
    assert trust[0, left] < 0.05 and trust[0, right] > 0.9
    assert trust[1, right] < 0.05 and trust[1, left] > 0.9
    nose = 4
    np.testing.assert_allclose(trust[:, nose], 1)


def test_a_region_counts_by_what_it_can_tell():
    weights = region_weights()
    brows, lips, lids, rim = LEFT_BROW[0], UPPER_LIP[0], UPPER_LIDS[0], OUTLINE[0]
    cheek = 50
    assert weights[rim] < weights[cheek] < weights[brows] < weights[lips] < weights[lids]
    assert (weights[[*UPPER_LIP, *LOWER_LIP]] == weights[lips]).all()
    assert (weights > 0).all()


def test_what_is_far_off_counts_less_and_less():
    residual = np.array([0.0, 1, 10, 100])[:, None, None] * [1.0, 0.0]
    pull = landmark_weights(residual, np.ones((4, 1)), np.array([0.5]))[:, 0] * residual[:, 0, 0]
    assert pull[1] == pytest.approx(1 / 0.5**2, rel=0.1)
    # Beyond some noise the pull falls.
    assert pull[3] < 0.5 * pull[2]


def test_sigma_is_the_noise_that_is_seen_and_no_less_than_the_least():
    rng = np.random.default_rng(0)
    residual = rng.normal(size=(4000, 3, 2)) * np.array([0.0, 1.0, 4.0])[:, None]
    # A third of the frames are worthless.
    trust = np.ones((4000, 3))
    trust[:1000] = 0.02
    residual[:1000] = 1000
    found = landmark_sigmas(residual, trust, 0.5)
    # The median of 3000 lengths is known to 3 percent.
    np.testing.assert_allclose(found, np.hypot([0, 1, 4], 0.5), rtol=0.05)
