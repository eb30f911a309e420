"""One face's motion on another: by formulas of its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rendering.driving.retarget import retarget
from rendering.driving.sequence import DrivingSequence
from scene.avatar import Avatar
from utils.errors import UserError

NAMES = ("mouthSmileLeft", "jawOpen", "eyeBlinkLeft", "tongueOut")


def make_avatar(names=NAMES, neutral=None, motion=None):
    neutral = torch.zeros(len(names or neutral)) if neutral is None else torch.tensor(neutral)
    motion = None if motion is None else torch.tensor(motion, dtype=torch.float32)
    return Avatar(None, neutral, names, None, torch.zeros(3), 1, motion)


def make_sequence(names, values, rate=30.0):
    return DrivingSequence(Path("take.csv"), names, np.array(values, np.float32), rate)


def ranks(values, low, high, seed):
    """A column whose 10th percentile is `low` and whose 99th is `high`: 101 values, in any order."""
    column = np.linspace(low, high, 90)
    column = np.concatenate([np.full(10, low), column, [high]])
    return np.random.default_rng(seed).permutation(column)


def test_a_hand_made_file_is_taken_as_it_is_by_name():
    avatar = make_avatar(motion=np.full((50, 4), 0.3))
    sequence = make_sequence(("TongueOut", "eyeBlink_L", "jawopen"), [[0.1, 0.2, 0.3], [1, 0, 0.5]])
    expressions, notes = retarget(sequence, avatar)
    assert expressions == pytest.approx(np.array([[0, 0.3, 0.2, 0.1], [0, 0.5, 0, 1]]))
    assert notes == ("take.csv: has no mouthSmileLeft: at rest",)


def test_rest_and_range_of_footage_become_the_avatars():
    driver = np.stack(
        [ranks(101, low, high, i) for i, (low, high) in enumerate([(0.1, 0.5), (0.2, 0.4), (0, 0.9)])], axis=1
    )
    own = np.stack(
        [ranks(101, low, high, 9 + i) for i, (low, high) in enumerate([(0.3, 0.8), (0, 0.6), (0.1, 0.2)])],
        axis=1,
    )
    own = np.concatenate([own, np.full((101, 1), 0.07)], axis=1)
    expressions, notes = retarget(make_sequence(NAMES[:3], driver), make_avatar(motion=own))
    # 0.5 / 0.4 as it is; 0.6 / 0.2 and 0.1 / 0.9 only as far as 1.5.
    expected = [
        0.3 + 1.25 * (driver[:, 0] - 0.1),
        0.0 + 1.5 * (driver[:, 1] - 0.2),
        0.1 + (driver[:, 2] - 0.0) / 1.5,
        np.full(101, 0.07),
    ]
    assert expressions == pytest.approx(np.stack(expected, axis=1), abs=1e-5)
    assert notes == ("take.csv: has no tongueOut: at rest",)


def test_an_avatar_driven_by_its_own_clip_moves_as_in_the_clip():
    motion = np.random.default_rng(0).uniform(0, 1, (80, 4)).astype(np.float32)
    expressions, notes = retarget(make_sequence(NAMES, motion), make_avatar(motion=motion))
    assert expressions == pytest.approx(motion, abs=1e-6) and notes == ()


def test_without_a_motion_of_the_avatar_the_driver_starts_from_the_neutral_face_unscaled():
    driver = np.stack([ranks(101, 0.2, 0.6, i) for i in range(4)], axis=1)
    expressions, _ = retarget(make_sequence(NAMES, driver), make_avatar())
    assert expressions == pytest.approx((driver - 0.2).clip(0, 1), abs=1e-6)


def test_a_coefficient_that_hardly_moves_is_not_scaled():
    driver = np.stack([ranks(101, 0.1, 0.11, i) for i in range(4)], axis=1)
    own = np.stack([ranks(101, 0.2, 0.7, i) for i in range(4)], axis=1)
    expressions, _ = retarget(make_sequence(NAMES, driver), make_avatar(motion=own))
    assert expressions == pytest.approx(0.2 + driver - 0.1, abs=1e-6)


def test_what_an_avatar_cannot_survive_is_clipped_and_counted():
    sequence = make_sequence(NAMES, [[-0.5, 2.0, 0.5, 1.0], [0, 0, 0, 9]])
    expressions, notes = retarget(sequence, make_avatar())
    assert expressions.tolist() == [[0, 1, 0.5, 1], [0, 0, 0, 1]]
    assert notes == ("take.csv: 3 of 8 coefficients clipped to [0, 1]",)


def test_what_the_avatar_does_not_know_is_named_where_it_says_something():
    sequence = make_sequence((*NAMES, "earWiggle", "silent"), [[0, 0, 0, 0, 0.5, 0]])
    assert retarget(sequence, make_avatar()).notes == (
        "take.csv: the avatar does not know earWiggle: left out",
    )


def test_signed_coefficients_start_from_the_avatars_neutral_and_stay_within_its_clip():
    names, neutral = ("a", "b"), [1.0, -2.0]
    motion = np.stack([np.linspace(0, 2, 60), np.linspace(-4, 0, 60)], axis=1)
    avatar = make_avatar(names, neutral, motion)
    short = retarget(make_sequence(("b", "a"), [[-3, 1.5], [-9, 9]]), avatar)
    assert short.expressions == pytest.approx(np.array([[1.5, -3], [2, -4]]))
    assert short.notes == ("take.csv: 2 of 4 coefficients clipped to what the avatar's own clip has",)
    shifted = retarget(make_sequence(names, motion + 5), avatar)
    assert shifted.expressions == pytest.approx(motion, abs=1e-5)


def test_without_names_the_place_decides_and_the_number_must_fit():
    sequence = make_sequence(None, [[0.1, 0.2, 0.3, 0.4]])
    expressions, notes = retarget(sequence, make_avatar())
    assert expressions == pytest.approx(sequence.coefficients)
    assert notes == ("take.csv: the driver has no names; coefficients by their place",)
    with pytest.raises(UserError, match=r"take\.csv: 3 coefficients, the avatar has 4, and the driver has"):
        retarget(replace(sequence, coefficients=sequence.coefficients[:, :3]), make_avatar())


def test_another_vocabulary_is_one_line():
    with pytest.raises(
        UserError, match=r"none of its coefficients \(x, y\) is one of the avatar's \(mouthSm"
    ):
        retarget(make_sequence(("x", "y"), [[0, 1]]), make_avatar())


def test_a_reach_becomes_the_avatars_and_nothing_leaves_its_clip():
    own = np.stack([ranks(101, low, high, i) for i, (low, high) in enumerate([(0.1, 0.5), (0, 0.6)])], axis=1)
    names = ("mouthSmileLeft", "jawOpen")
    avatar = make_avatar((*names, "eyeBlinkLeft"), motion=np.column_stack([own, np.zeros(len(own))]))
    sequence = make_sequence((*names, "eyeBlinkLeft"), [[0, 0, 0], [0.25, 0.4, 0], [0.5, 9, 1]])
    expressions, notes = retarget(replace(sequence, reach=np.array([0.5, 0.8, 0])), avatar)
    # Rest, half of the reach, all of it and far more: 0.4 / 0.5 and 0.6 / 0.8 of what was given.
    assert expressions == pytest.approx(np.array([[0.1, 0, 0], [0.3, 0.3, 0], [0.5, 0.6, 0]]), abs=1e-3)
    assert notes == ()
