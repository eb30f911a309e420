import numpy as np
import pytest

from parametric_head.person import gaze_angles
from preparation.head_fit.expression_prior import (
    EYES_DIFFER,
    HIDDEN_SPREAD,
    SIDES_DIFFER,
    SPREAD,
    expected_coefficients,
    expression_precision,
    side_pairs,
    tidy_gaze,
)
from tests.parametric_head.small_head import small_head


@pytest.fixture(scope="module")
def head():
    return small_head()


@pytest.fixture(scope="module")
def covariance(head):
    return np.linalg.inv(expression_precision(head))


def direction(head, **values):
    vector = np.zeros(len(head.names))
    for name, value in values.items():
        vector[head.columns[name]] = value
    return vector


def test_precision_is_symmetric_and_positive_definite(head):
    precision = expression_precision(head)
    np.testing.assert_array_equal(precision, precision.T)
    assert np.linalg.eigvalsh(precision).min() > 1


def test_sides_are_tied_and_other_shapes_are_not(head, covariance):
    left, right = head.columns["mouthSmileLeft"], head.columns["mouthSmileRight"]
    # Difference and sum of two that are each N(0, SPREAD^2), the difference known to SIDES_DIFFER as well.
    difference, both = direction(head, mouthSmileLeft=1, mouthSmileRight=-1), np.zeros(len(head.names))
    both[[left, right]] = 1
    spread = 2 * SPREAD**2
    assert difference @ covariance @ difference == pytest.approx(1 / (1 / spread + SIDES_DIFFER**-2.0))
    assert both @ covariance @ both == pytest.approx(spread)
    assert covariance[left, head.columns["jawOpen"]] == pytest.approx(0, abs=1e-12)
    assert covariance[left, head.columns["mouthFrownRight"]] == pytest.approx(0, abs=1e-12)


def test_shapes_that_go_to_one_side_are_not_tied_to_the_other(head, covariance):
    for first, second in (("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")):
        assert covariance[head.columns[first], head.columns[second]] == pytest.approx(0, abs=1e-12)
    pairs = side_pairs(head)
    assert len(set(np.ravel(pairs))) == 2 * len(pairs)
    for left, right in pairs:
        assert head.names[left].replace("Left", "Right") == head.names[right]


def test_hidden_coefficients_are_held_tighter_and_the_idle_one_at_zero(head, covariance):
    deviation = dict(zip(head.names, np.sqrt(np.diag(covariance)), strict=True))
    assert deviation["jawForward"] == pytest.approx(HIDDEN_SPREAD)
    assert deviation["cheekPuff"] == pytest.approx(HIDDEN_SPREAD)
    assert deviation["jawOpen"] == pytest.approx(SPREAD)
    assert deviation["noseSneerLeft"] < HIDDEN_SPREAD < deviation["mouthSmileLeft"] < SPREAD
    assert deviation["_neutral"] < 2e-3


def test_eyes_look_at_the_same_thing(head):
    precision = expression_precision(head)

    def cost(**values):
        vector = direction(head, **values)
        return vector @ precision @ vector

    plain = 2 * 0.5**2 / SPREAD**2
    # One eye out and the other in; both up.
    assert cost(eyeLookOutLeft=0.5, eyeLookInRight=0.5) == pytest.approx(plain)
    assert cost(eyeLookUpLeft=0.5, eyeLookUpRight=0.5) == pytest.approx(plain)
    # A squint outwards; one eye up and the other down.
    assert cost(eyeLookOutLeft=0.5, eyeLookOutRight=0.5) == pytest.approx(plain + EYES_DIFFER**-2.0)
    assert cost(eyeLookUpLeft=0.5, eyeLookDownRight=0.5) == pytest.approx(plain + EYES_DIFFER**-2.0)


def test_expected_is_what_scores_rise_above_the_calm_face(head):
    scores = np.full((100, 3), [0.3, 0.1, 0.5])
    scores[60:, 0] = 0.8
    scores[60:, 2] = 1.0
    expected = expected_coefficients(scores, ("jawOpen", "eyeBlinkLeft", "noSuchShape"), head)
    assert expected.shape == (100, 52)
    jaw = expected[:, head.columns["jawOpen"]]
    assert (jaw[:60] == 0).all()
    # Believed for the most part, not wholly.
    assert 0.25 < jaw[99] < 0.5
    # A face that is always the same is calm, and what the model does not have is left out.
    assert np.count_nonzero(expected) == 40


def test_expected_stays_within_bounds(head):
    scores = np.random.default_rng(0).uniform(-0.5, 2.0, (50, len(head.names)))
    expected = expected_coefficients(scores, head.names, head)
    assert expected.min() == 0
    assert 0.5 < expected.max() <= 1


def test_tidy_gaze_keeps_where_the_eyes_look_with_one_of_two_opposites(head):
    coefficients = np.random.default_rng(0).uniform(size=(20, 52))
    tidied = tidy_gaze(coefficients, head)
    for side, name in enumerate(("Left", "Right")):
        np.testing.assert_allclose(
            gaze_angles(head, tidied, side), gaze_angles(head, coefficients, side), atol=1e-12
        )
        for one, other in (("Out", "In"), ("Up", "Down")):
            both = tidied[:, [head.columns[f"eyeLook{where}{name}"] for where in (one, other)]]
            np.testing.assert_allclose(both.min(axis=1), 0)
    others = [column for name, column in head.columns.items() if not name.startswith("eyeLook")]
    np.testing.assert_array_equal(tidied[:, others], coefficients[:, others])
