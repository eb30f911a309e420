"""The map from scores to coefficients: gains, what regression adds, bounds, what it does unseen."""

import json

import numpy as np
import pytest

from preparation.head_fit import score_map
from preparation.head_fit.score_map import ScoreMap, held_out_coefficients, learn_score_map

NAMES = ("jawOpen", "mouthSmileLeft", "mouthPucker", "cheekPuff")


def smooth_scores(num_frames=300, seed=0, num_scores=4):
    """Scores that come and go within some ten frames, between 0 and 0.8."""
    rng = np.random.default_rng(seed)
    kernel = np.hanning(11)
    noise = rng.normal(size=(num_frames + 10, num_scores))
    curves = np.stack([np.convolve(column, kernel, mode="valid") for column in noise.T], axis=1)
    return np.clip(0.3 + 0.15 * curves / curves.std(axis=0), 0, 0.8)


def noise_of(scores, sigma=0.01, seed=1):
    return sigma * np.random.default_rng(seed).normal(size=scores.shape)


def test_gain_and_base_are_found_despite_outliers():
    scores = smooth_scores()
    gain, base = np.array([0.6, 1.3, 1.0, 0.8]), np.array([0.1, 0.05, 0.1, 0.2])
    coefficients = base + gain * scores + noise_of(scores)
    coefficients[::20] = 0.9
    learned = learn_score_map(scores, coefficients, NAMES)
    np.testing.assert_allclose(learned.gain, gain, atol=0.03)
    others = np.arange(len(scores)) % 20 != 0
    # Regressions meet the mean, which the outliers raise by up to 0.03; the noise is 0.01.
    assert np.median(abs(learned(scores) - coefficients)[others]) < 0.035


def test_a_score_that_never_moves_keeps_gain_1_and_the_usual_value():
    scores = smooth_scores()
    scores[:, 3] = 0.02
    coefficients = scores + noise_of(scores)
    coefficients[:, 3] += 0.2
    learned = learn_score_map(scores, coefficients, NAMES)
    assert learned.gain[3] == pytest.approx(1, abs=1e-6)
    assert learned.base[3] == pytest.approx(0.22, abs=5e-3)
    assert learned(np.array([0.0, 0.0, 0.0, 0.5]))[3] == pytest.approx(0.7, abs=0.03)


def test_few_frames_leave_the_scores_as_they_are():
    scores = smooth_scores(12)
    learned = learn_score_map(scores, 0.2 + noise_of(scores, 0.3), NAMES)
    np.testing.assert_allclose(learned.gain, 1, atol=0.25)
    assert not learned.is_regressed.any()


def test_what_other_scores_tell_is_added():
    scores = smooth_scores()
    coefficients = scores + noise_of(scores)
    coefficients[:, 0] = 0.5 * scores[:, 0] + 0.5 * scores[:, 2]
    mapped = held_out_coefficients(scores, coefficients, NAMES)
    residual = np.mean((mapped - coefficients)[:, 0] ** 2)
    line = np.polyfit(scores[:, 0], coefficients[:, 0], 1)
    by_own_score = np.mean((np.polyval(line, scores[:, 0]) - coefficients[:, 0]) ** 2)
    assert residual < 0.1 * by_own_score


def test_regression_is_left_out_where_it_finds_nothing():
    scores = smooth_scores(200, num_scores=20)
    names = tuple(f"name{i}" for i in range(20))
    coefficients = 0.2 + 0.5 * scores + noise_of(scores, 0.05)
    learned = learn_score_map(scores, coefficients, names)
    # One in some by chance, as in any test.
    assert learned.is_regressed.mean() <= 0.25
    unseen = smooth_scores(200, seed=7, num_scores=20)
    # A tenth of a percent of the noise.
    assert np.mean((learned(unseen) - 0.2 - 0.5 * unseen) ** 2) < 0.1 * 0.05**2


def test_a_weight_is_that_of_ridge_regression():
    rng = np.random.default_rng(0)
    inputs, wanted, strength = rng.normal(size=(50, 6)), rng.normal(size=(50, 2)), 0.3
    # Ridge is least squares with an observation of 0 for every weight.
    rows = np.concatenate([inputs, np.sqrt(50 * strength) * np.eye(6)])
    expected = np.linalg.lstsq(rows, np.concatenate([wanted, np.zeros((6, 2))]), rcond=None)[0]
    np.testing.assert_allclose(score_map._ridge(inputs, wanted, strength), expected, atol=1e-12)


@pytest.mark.parametrize("extreme", [0.0, 1.0, 10.0])
def test_extreme_scores_are_bounded(extreme):
    scores = smooth_scores()
    coefficients = np.clip(scores @ np.random.default_rng(3).uniform(-1, 1, size=(4, 4)), 0, 1)
    learned = learn_score_map(scores, coefficients, NAMES)
    assert learned.is_regressed.any()
    found = learned(np.full((2, 3, 4), extreme))
    assert found.shape == (2, 3, 4)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_score_beyond_what_was_seen_moves_its_own_coefficient_by_no_more():
    scores = smooth_scores()
    coefficients = 1.8 * scores @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0.2, 1, 0], [0, 0, 0, 0.4]]) / 3
    learned = learn_score_map(scores, coefficients, NAMES)
    edge = learned.seen[1]
    for column in range(4):
        further = edge + 0.1 * (np.arange(4) == column)
        moved = learned(further) - learned(edge)
        expected = 0.1 * min(learned.gain[column], 1)
        np.testing.assert_allclose(moved, np.where(np.arange(4) == column, expected, 0), atol=1e-9)


def test_a_stretch_is_mapped_without_having_been_seen():
    scores = smooth_scores()
    coefficients = np.clip(scores + noise_of(scores), 0, 1)
    other = coefficients.copy()
    other[75:150] = 0.5
    before, after = (held_out_coefficients(scores, c, NAMES) for c in (coefficients, other))
    np.testing.assert_array_equal(before[75:150], after[75:150])
    assert not np.allclose(before[:75], after[:75])


def test_map_survives_a_file():
    scores = smooth_scores()
    learned = learn_score_map(scores, scores @ np.eye(4)[[1, 0, 2, 3]], NAMES)
    again = ScoreMap.from_json(json.loads(json.dumps(learned.to_json())))
    assert again.names == NAMES
    # Rounding of four weights, at up to 3 deviations.
    np.testing.assert_allclose(again(scores), learned(scores), atol=2e-4)


def test_numbers_of_a_wrong_shape_are_refused():
    values = learn_score_map(smooth_scores(), smooth_scores(), NAMES).to_json()
    values["gain"] = values["gain"][:2]
    with pytest.raises(ValueError, match=r"gain: expected \[4\] numbers, got \[2\]"):
        ScoreMap.from_json(values)


def test_scores_and_coefficients_of_different_names_are_refused():
    with pytest.raises(ValueError, match="scores and coefficients"):
        learn_score_map(smooth_scores(), smooth_scores()[:, :3], NAMES)
