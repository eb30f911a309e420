"""A person's mesh: numbers that survive a file, lids that close, eyeballs that turn, smooth skin."""

import json

import numpy as np
import pytest

from parametric_head.person import GAZE_ACROSS, Person, gaze_axes
from parametric_head.surface import spread
from tests.parametric_head.small_head import small_head, small_landmarks
from utils.so3 import exp_so3


@pytest.fixture(scope="module")
def head():
    return small_head()


@pytest.fixture(scope="module")
def places(head):
    return small_landmarks(head)


def person_of(head, places, seed=0, **changes):
    rng = np.random.default_rng(seed)
    offsets = np.zeros((478, 3))
    values = dict(
        identity=rng.normal(size=len(head.identity)),
        offsets=offsets,
        places=places,
        scale=0.029,
        rotation=np.eye(3),
        translation=np.array([0.0, -0.02, -0.1]),
    )
    return Person(**(values | changes))


def test_mesh_is_neutral_plus_identity_in_head_units(head, places):
    person = person_of(head, places)
    wanted = head.neutral + np.tensordot(person.identity, head.identity, 1)
    np.testing.assert_allclose(
        person.mesh(head).vertices(np.zeros(52)), 0.029 * wanted + person.translation, atol=1e-6
    )


def test_json_gives_the_same_mesh(head, places):
    rng = np.random.default_rng(1)
    person = person_of(head, places, offsets=0.1 * rng.normal(size=(478, 3)))
    again = Person.from_json(json.loads(json.dumps(person.to_json())))
    coefficients = rng.uniform(size=52)
    np.testing.assert_allclose(
        again.mesh(head).vertices(coefficients), person.mesh(head).vertices(coefficients), atol=2e-6
    )


def test_blink_closes_the_lids_of_this_person(head, places):
    mesh = person_of(head, places).mesh(head)
    blink = np.zeros(52)
    blink[[head.columns["eyeBlinkLeft"], head.columns["eyeBlinkRight"]]] = 1
    rest, shut = mesh.landmarks(np.zeros(52)), mesh.landmarks(blink)
    for upper, lower in ((386, 374), (159, 145)):
        gap_at_rest = rest[upper, 1] - rest[lower, 1]
        assert gap_at_rest > 0
        assert abs(shut[upper, 1] - shut[lower, 1]) < 0.05 * gap_at_rest


@pytest.mark.parametrize(("name", "axis", "sign"), [("eyeLookOutLeft", 0, 1), ("eyeLookInLeft", 0, -1)])
def test_gaze_turns_the_eyeball_and_keeps_it_round(head, places, name, axis, sign):
    mesh = person_of(head, places).mesh(head)
    coefficients = np.zeros(52)
    coefficients[head.columns[name]] = 1
    part, center = head.part("eyeball_left"), mesh.eye_centers[0]
    before, after = mesh.neutral[part] - center, mesh.vertices(coefficients)[part] - center
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1), atol=1e-9)
    front = before[:, 2].argmax()
    assert np.sign(after[front, axis] - before[front, axis]) == sign


@pytest.mark.parametrize("side", [0, 1])
def test_both_eyes_look_out_to_their_own_side(side):
    gaze = exp_so3(gaze_axes(side)[0]) @ [0, 0, 1]
    np.testing.assert_allclose(
        gaze, [np.sin(GAZE_ACROSS) * (1, -1)[side], 0, np.cos(GAZE_ACROSS)], atol=1e-12
    )


def test_eye_looks_up_and_down():
    up, down = (exp_so3(gaze_axes(0)[k]) @ [0, 0, 1] for k in (2, 3))
    assert up[1] > 0.4
    assert down[1] < -0.4


def test_skin_follows_landmarks_smoothly(head, places):
    wanted = np.tile([0.1, -0.2, 0.3], (478, 1))
    moved = spread(head, places, wanted)
    np.testing.assert_allclose(places.of(moved)[:468], wanted[:468], atol=0.02)
    assert np.abs(moved).max() < 0.35


def test_displacements_fade_far_from_landmarks(head, places):
    moved = spread(head, places, np.tile([0.0, 0.0, 0.3], (478, 1)))
    behind = head.neutral[:, 2].argmin()
    assert abs(moved[behind, 2]) < 0.3
