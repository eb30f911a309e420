"""Pose and expression of frames of a person who is known, from landmarks with noise and outliers."""

import numpy as np
import pytest

from preparation.geometry.rigid import log_so3
from preparation.head_fit import frame_fit
from preparation.head_fit.frame_fit import fit_frames
from preparation.head_fit.landmark_model import points_of_mesh
from tests.preparation.head_fit.talking_head import columns, gaze_of, observe, talking_head

NUM_FRAMES, NOISE = 20, 0.3


@pytest.fixture(scope="module")
def truth():
    return talking_head(NUM_FRAMES)


def fit(truth, landmarks, expected=None, start=None, **changes):
    expected = np.zeros(truth.coefficients.shape) if expected is None else expected
    if start is None:
        rng = np.random.default_rng(0)
        turns, shifts = 0.15 * rng.normal(size=(2, len(landmarks), 3))
        start = truth.poses.moved(turns, shifts)
    return fit_frames(
        truth.head,
        points_of_mesh(truth.mesh),
        landmarks,
        start,
        expected,
        np.full(478, 1.0),
        truth.camera,
        **changes,
    )


def degrees(found, true):
    return np.rad2deg(np.linalg.norm(log_so3(found.rotations @ true.rotations.transpose(0, 2, 1)), axis=1))


@pytest.fixture(scope="module")
def found(truth):
    """With outliers, from far away, told what is likely."""
    return fit(truth, observe(truth, NOISE, outliers=0.05)[..., :2], 0.8 * truth.coefficients)


def test_poses_are_found_from_far_away_and_in_spite_of_outliers(truth, found):
    poses, _ = found
    error = degrees(poses, truth.poses)
    assert error.mean() < 0.3
    assert error.max() < 0.6
    np.testing.assert_allclose(poses.translations[:, 2], truth.poses.translations[:, 2], rtol=0.01)
    np.testing.assert_allclose(poses.translations[:, :2], truth.poses.translations[:, :2], atol=0.004)


def test_expressions_are_found_by_landmarks_alone(truth):
    # The calm face is expected, which is wrong.
    _, found = fit(truth, observe(truth, NOISE)[..., :2])
    assert found.min() >= 0 and found.max() <= 1
    for name in ("jawOpen", "eyeBlink", "mouthSmile", "browInnerUp"):
        for column in columns(truth.head, name):
            assert np.corrcoef(found[:, column], truth.coefficients[:, column])[0, 1] > 0.95


def test_eyes_look_where_the_irises_are(truth, found):
    _, coefficients = found
    is_open = truth.coefficients[:, truth.head.columns["eyeBlinkLeft"]] < 0.3
    assert is_open.mean() > 0.3
    error = np.linalg.norm(
        gaze_of(truth.head, coefficients) - gaze_of(truth.head, truth.coefficients), axis=-1
    )
    # Radians; the eyes turn by up to 0.3.
    assert error[is_open].mean() < 0.04
    assert error[is_open].max() < 0.12


def test_frames_are_independent_and_taken_in_chunks(truth, monkeypatch):
    few = truth.select(slice(5))
    landmarks = observe(few, NOISE)[..., :2]
    start = few.poses.moved(np.full((5, 3), 0.05), np.full((5, 3), 0.02))
    together, values = fit(few, landmarks, start=start)
    monkeypatch.setattr(frame_fit, "CHUNK", 2)
    counts = []
    chunked, chunked_values = fit(few, landmarks, start=start, on_chunk=counts.append)
    assert counts == [2, 2, 1]
    np.testing.assert_allclose(chunked.rotations, together.rotations, atol=1e-9)
    np.testing.assert_allclose(chunked_values, values, atol=1e-9)
