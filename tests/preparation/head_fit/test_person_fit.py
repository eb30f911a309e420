"""A person found from landmarks: scale, habits of the detector, noise of each landmark."""

import numpy as np
import pytest

from preparation.geometry.rigid import Poses, align, project
from preparation.head_fit.person_fit import PUPILS, fit_person
from tests.preparation.head_fit.talking_head import observe, talking_head

NUM_FRAMES, NOISE = 10, 0.3
# Of the outline, which the detector puts higher than the head has it; and a restless one of the cheek.
FOREHEAD, HABIT, RESTLESS = 10, np.array([0.0, 0.3, 0.0]), 50


@pytest.fixture(scope="module")
def truth():
    return talking_head(NUM_FRAMES, weights=np.array([0.3, -0.5, 1.6, -2.0, 1.8, 1.0]))


@pytest.fixture(scope="module")
def found(truth):
    rng = np.random.default_rng(3)
    observed = observe(truth, NOISE)[..., :2]
    person, camera = truth.person, truth.camera
    moved = truth.points[:, FOREHEAD] + truth.poses.rotations @ (person.scale * person.rotation @ HABIT)
    observed[:, FOREHEAD] = project(moved, camera.focal, camera.center)
    observed[:, RESTLESS] += 6 * rng.normal(size=(NUM_FRAMES, 2))
    start = in_cm(truth).moved(*(0.05 * rng.normal(size=(2, NUM_FRAMES, 3)) * [[[1]], [[20]]]))
    return fit_person(truth.head, person.places, observed, start, camera, noise=1.0, quiet=True)


def in_cm(truth) -> Poses:
    """The poses that take the model's points, in cm, to the camera."""
    person, poses = truth.person, truth.poses
    translations = poses.translations + poses.rotations @ person.translation
    return Poses(poses.rotations @ person.rotation, translations / person.scale)


def landmarks(truth, found) -> np.ndarray:
    places, head = truth.person.places, truth.head
    return places.of(head.neutral + np.tensordot(found.identity, head.identity, 1)) + found.offsets


def test_pupils_are_as_far_apart_as_they_usually_are(truth, found):
    right, left = landmarks(truth, found)[[468, 473]]
    # By the standard deviation that the fit gives them.
    assert left[0] - right[0] == pytest.approx(PUPILS, abs=0.01)


def test_landmarks_are_those_of_the_person_but_for_the_scale(truth, found):
    places, head = truth.person.places, truth.head
    true = places.of(head.neutral + np.tensordot(truth.person.identity, head.identity, 1)).astype(float)
    true[FOREHEAD] += HABIT
    shape = landmarks(truth, found)
    error = np.linalg.norm(align(shape, true).apply(shape[None])[0] - true, axis=1)
    # Cm.
    assert error.mean() < 0.06
    mean = places.of(head.neutral).astype(float)
    assert np.linalg.norm(align(mean, true).apply(mean[None])[0] - true, axis=1).mean() > 0.15


def test_nose_and_jaw_are_told_by_identity(truth, found):
    # Width, height and depth go with the scale.
    np.testing.assert_allclose(found.identity[3:5], truth.person.identity[3:5], atol=0.25)


def test_a_habit_of_the_detector_becomes_an_offset(truth, found):
    assert found.offsets[FOREHEAD] @ HABIT / (HABIT @ HABIT) == pytest.approx(1, abs=0.25)
    others = np.delete(found.offsets, [FOREHEAD, RESTLESS], axis=0)
    assert np.linalg.norm(others, axis=1).mean() < 0.05


def test_a_restless_landmark_has_more_noise(found):
    assert found.sigmas[RESTLESS] > 3
    others = np.delete(found.sigmas, RESTLESS)
    # The least noise, and what is seen.
    assert others.min() >= 1.0
    assert np.median(others) < 1.2


def test_frames_are_those_of_the_truth(truth, found):
    true = in_cm(truth)
    np.testing.assert_allclose(found.poses.rotations, true.rotations, atol=np.deg2rad(1.0))
    assert found.coefficients.min() >= 0 and found.coefficients.max() <= 1
    jaw = truth.head.columns["jawOpen"]
    assert np.corrcoef(found.coefficients[:, jaw], truth.coefficients[:, jaw])[0, 1] > 0.98
