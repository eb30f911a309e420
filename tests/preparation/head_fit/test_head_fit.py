"""The whole fit to landmarks, of a head that turns far and of one that hardly turns; head.json."""

import json

import numpy as np
import pytest

from parametric_head.person import Person
from preparation.geometry.rigid import align, log_so3, mean_rotation
from preparation.head_fit.head_fit import Detected, fit_head, head_document, with_mended_depth
from preparation.head_fit.score_map import ScoreMap, learn_score_map
from tests.preparation.head_fit.talking_head import (
    LIVELY,
    columns,
    gaze_of,
    make_person,
    observe,
    talking_head,
)

NUM_FRAMES, NOISE, OUTLIERS = 14, 0.3, 0.05
# What the detector has no scores for: landmarks must tell.
UNSCORED = ("jawOpen", "mouthSmileLeft", "mouthSmileRight")


def fitted(truth):
    """The fit to landmarks with noise and outliers, and scores that are off by a gain of their own each."""
    head = truth.head
    names = tuple(name for name in head.names if name not in UNSCORED)
    gains = np.random.default_rng(7).uniform(0.6, 1.3, len(names))
    scores = np.clip(gains * truth.coefficients[:, [head.columns[name] for name in names]], 0, 1)
    detected = Detected(observe(truth, NOISE, OUTLIERS), scores, names)
    return fit_head(head, truth.person.places, detected, truth.camera, quiet=True)


@pytest.fixture(scope="module")
def turning():
    truth = talking_head(NUM_FRAMES, 25.0)
    return truth, fitted(truth)


@pytest.fixture(scope="module")
def frontal():
    # A head that is the mean one, but for its nose and jaw.
    truth = talking_head(NUM_FRAMES, 4.0, weights=np.array([0.0, 0, 0, 0.5, -0.5, 0]))
    return truth, fitted(truth)


def slopes(found, true):
    """Of found pitch and yaw by true ones, about the mean pose."""
    turns = [log_so3(poses.rotations @ mean_rotation(poses.rotations).T) for poses in (true, found)]
    return [np.polyfit(turns[0][:, axis], turns[1][:, axis], 1)[0] for axis in (0, 1)]


def mesh_errors(truth, fit):
    """Of the face's vertices after a similarity, head units."""
    face = truth.head.part("face")
    found, true = fit.mesh.neutral[face], truth.mesh.neutral[face]
    return np.linalg.norm(align(found, true).apply(found[None])[0] - true, axis=1)


def test_the_mesh_is_the_persons(turning):
    truth, fit = turning
    errors = mesh_errors(truth, fit)
    # Head units, of 34 mm.
    assert errors.mean() < 0.002
    assert errors.max() < 0.006
    # And stands in the same head frame in the same size.
    away = np.linalg.norm(fit.mesh.landmarks(np.zeros(52)) - truth.mesh.landmarks(np.zeros(52)), axis=1)
    assert away.mean() < 0.004
    mean = make_person(np.zeros(6)).mesh(truth.head)
    mean_head = mesh_errors(truth, type(fit)(fit.head, fit.person, mean, fit.fit, fit.expected, fit.sigmas))
    assert mean_head.mean() > 2 * errors.mean()


def test_turns_are_as_far_as_they_are(turning):
    truth, fit = turning
    for slope in slopes(fit.fit.poses, truth.poses):
        assert 0.97 < slope < 1.03
    turned = fit.fit.poses.rotations @ truth.poses.rotations.transpose(0, 2, 1)
    assert np.rad2deg(np.linalg.norm(log_so3(turned), axis=1)).mean() < 0.7


def test_a_head_that_hardly_turns_is_not_made_flatter(frontal):
    truth, fit = frontal
    for slope in slopes(fit.fit.poses, truth.poses):
        assert 0.95 < slope < 1.05
    # 3 mm.
    assert mesh_errors(truth, fit).max() < 0.009


def test_lively_expressions_are_followed_and_dead_ones_stay_near_zero(turning):
    truth, fit = turning
    found, true, head = fit.fit.coefficients, truth.coefficients, truth.head
    assert found.min() >= 0 and found.max() <= 1
    lively = [column for name in LIVELY for column in columns(head, name)]
    for column in lively:
        assert np.corrcoef(found[:, column], true[:, column])[0, 1] > 0.95, head.names[column]
    gaze = [column for name, column in head.columns.items() if name.startswith("eyeLook")]
    dead = np.setdiff1d(np.arange(len(head.names)), lively + gaze)
    assert len(dead) > 30
    assert np.sqrt((found[:, dead] ** 2).mean(axis=0)).max() < 0.09


def test_open_eyes_look_where_they_look(turning):
    truth, fit = turning
    is_open = truth.coefficients[:, truth.head.columns["eyeBlinkLeft"]] < 0.3
    found, true = (gaze_of(truth.head, each)[is_open] for each in (fit.fit.coefficients, truth.coefficients))
    # Radians.
    assert np.linalg.norm(found - true, axis=-1).mean() < 0.09
    across = found[:, :, 1].ravel(), true[:, :, 1].ravel()
    assert np.corrcoef(*across)[0, 1] > 0.95
    # What opposite coefficients have in common is nothing.
    for side in ("Left", "Right"):
        both = fit.fit.coefficients[:, [truth.head.columns[f"eyeLook{way}{side}"] for way in ("Out", "In")]]
        assert both.min(axis=1).max() == 0


def test_the_landmarks_are_the_persons_at_the_usual_expression(turning):
    truth, fit = turning
    usual = np.median(truth.coefficients, axis=0)
    assert np.linalg.norm(fit.landmarks - truth.mesh.landmarks(usual), axis=1).mean() < 0.005


def test_frames_are_left_out_of_all_of_it(turning):
    _, fit = turning
    is_kept = np.arange(NUM_FRAMES) % 3 > 0
    fewer = fit.select(is_kept)
    np.testing.assert_array_equal(fewer.expected, fit.expected[is_kept])
    np.testing.assert_array_equal(fewer.fit.coefficients, fit.fit.coefficients[is_kept])
    np.testing.assert_array_equal(fewer.fit.poses.rotations, fit.fit.poses.rotations[is_kept])
    np.testing.assert_array_equal(
        fewer.fit.landmark_poses.rotations, fit.fit.landmark_poses.rotations[is_kept]
    )
    assert fewer.mesh is fit.mesh


def test_mended_depth_moves_the_skin_along_z(turning):
    _, fit = turning
    depths = np.full(478, 0.01)
    mesh = with_mended_depth(fit.person, depths).mesh(fit.head)
    moved = mesh.landmarks(np.zeros(52))[:468] - fit.mesh.landmarks(np.zeros(52))[:468]
    # The skin follows its landmarks smoothly.
    np.testing.assert_allclose(moved[:, 2], 0.01, atol=0.0012)
    np.testing.assert_allclose(moved[:, :2], 0, atol=0.0005)


def test_the_document_gives_the_person_and_the_map_again(turning):
    truth, fit = turning
    scores = truth.coefficients
    learned = learn_score_map(scores, fit.fit.coefficients, fit.head.names)
    text = json.dumps(head_document(fit, truth.camera, "assumed: so", learned), allow_nan=False)
    document = json.loads(text)
    assert document["model"] == {"name": "ICT-FaceKit light", "sha256": fit.head.digest}
    assert document["focal"] == {"pixels": truth.camera.focal, "source": "assumed: so"}
    again = Person.from_json(document["person"]).mesh(fit.head)
    coefficients = truth.coefficients[3]
    np.testing.assert_allclose(again.vertices(coefficients), fit.mesh.vertices(coefficients), atol=2e-5)
    read = ScoreMap.from_json(document["scores_to_coefficients"])
    np.testing.assert_allclose(read(scores), learned(scores), atol=1e-3)
    # A few kilobytes of our own numbers.
    assert len(text) < 200_000
