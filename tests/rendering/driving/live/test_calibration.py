"""From a performer's face to the avatar's."""

import numpy as np
import pytest
import torch

from rendering.driving.head_angles import angles_of, rotations_of
from rendering.driving.live.calibration import DONE, NONE, OBSERVING, RANGE_SECONDS, LiveFace
from rendering.driving.live.frame import LiveFrame, Reading
from tests.viewing.avatars import NAMES, make_avatar
from utils.errors import UserError

RATE = 30


@pytest.fixture
def face() -> LiveFace:
    """Of an avatar whose clip goes from 0.1 to 0.6 in all coefficients."""
    avatar = make_avatar()
    motion = torch.linspace(0.1, 0.6, 101)[:, None].expand(-1, len(NAMES))
    ranges = np.stack([motion.amin(dim=0), motion.amax(dim=0)])
    return LiveFace(type(avatar)(**{**vars(avatar), "motion": motion}), ranges)


def frame(seconds: float, yaw: float | None = None, **coefficients: float) -> LiveFrame:
    rotation = None if yaw is None else rotations_of(np.array([[yaw, 0, 0]]))[0]
    return LiveFrame(Reading(coefficients, rotation), seconds, {})


def calibrated(face: LiveFace, rest: float, reach: float) -> float:
    """A performer who rests at `rest` and opens the jaw to `reach`; returns the seconds after that."""
    for number in range(RATE):
        face.follow(frame(number / RATE, jawOpen=rest))
    assert face.calibrate()
    steps = int(RATE * (RANGE_SECONDS + 0.5))
    for number in range(steps):
        share = 0.5 - 0.5 * np.cos(2 * np.pi * number / RATE)
        face.follow(frame(1 + number / RATE, jawOpen=rest + share * (reach - rest)))
    return 1 + steps / RATE


def test_before_calibration_coefficients_are_the_performers(face):
    driven = face.follow(frame(0, jawOpen=0.9, eyeBlink_L=1.4, tongueOut=1.0))
    assert driven.expression["jawOpen"] == 0.9
    assert driven.expression["eyeBlinkLeft"] == 1
    # Not mentioned: at rest.
    assert driven.expression["cheekPuff"] == 0
    assert driven.turn is None and face.state == NONE and set(driven.expression) == set(NAMES)


def test_the_neutral_face_is_the_avatars_rest(face):
    calibrated(face, rest=0.3, reach=0.8)
    driven = face.follow(frame(20, jawOpen=0.3))
    # The 10th percentile of the avatar's clip.
    assert driven.expression["jawOpen"] == pytest.approx(0.15, abs=1e-3)


@pytest.mark.parametrize("reach", [0.7, 0.8])
def test_the_performers_range_becomes_the_avatars(face, reach):
    """10th to 99th percentile of the clip: 0.15 to 0.595."""
    calibrated(face, rest=0.3, reach=reach)
    driven = face.follow(frame(20, jawOpen=reach))
    assert face.state == DONE and driven.expression["jawOpen"] == pytest.approx(0.595, abs=0.01)


def test_a_range_is_stretched_by_half_at_most(face):
    calibrated(face, rest=0.3, reach=0.4)
    driven = face.follow(frame(20, jawOpen=0.4))
    assert driven.expression["jawOpen"] == pytest.approx(0.15 + 1.5 * 0.1, abs=0.002)


def test_a_calibrated_face_stays_within_the_avatars_clip(face):
    calibrated(face, rest=0.3, reach=0.8)
    assert face.follow(frame(20, jawOpen=2.0)).expression["jawOpen"] == pytest.approx(0.6)
    assert face.follow(frame(21, jawOpen=-1.0)).expression["jawOpen"] == pytest.approx(0.1)


def test_while_the_range_is_observed_nothing_is_scaled(face):
    face.follow(frame(0, jawOpen=0.3))
    face.calibrate()
    assert face.state == OBSERVING and face.seconds_left(2.0) == pytest.approx(RANGE_SECONDS - 2)
    assert face.follow(frame(1, jawOpen=0.4)).expression["jawOpen"] == pytest.approx(0.25, abs=1e-3)


def test_only_the_last_half_second_counts_as_neutral(face):
    for number in range(RATE):
        face.follow(frame(number / RATE, jawOpen=1.0))
    for number in range(RATE):
        face.follow(frame(1 + number / RATE, jawOpen=0.2))
    face.calibrate()
    assert face.follow(frame(2, jawOpen=0.2)).expression["jawOpen"] == pytest.approx(0.15, abs=1e-3)


def test_the_head_turns_from_where_it_was(face):
    face.follow(frame(0, yaw=0.3, jawOpen=0.0))
    assert angles_of(face.follow(frame(0.1, yaw=0.3)).turn[None])[0, 0] == pytest.approx(0.3)
    face.calibrate()
    assert angles_of(face.follow(frame(0.2, yaw=0.3)).turn[None])[0, 0] == pytest.approx(0)
    assert angles_of(face.follow(frame(0.3, yaw=0.5)).turn[None])[0, 0] == pytest.approx(0.2)


def test_a_reset_forgets_everything(face):
    calibrated(face, rest=0.3, reach=0.8)
    face.reset()
    assert face.state == NONE and face.follow(frame(30, jawOpen=0.9)).expression["jawOpen"] == 0.9


def test_without_a_face_there_is_nothing_to_calibrate(face):
    assert not face.calibrate() and face.state == NONE


def test_an_avatar_without_arkit_names_is_refused():
    avatar = make_avatar(names=("a", "b", "c", "d", "e"))
    with pytest.raises(UserError, match="ARKit's coefficients, this one has"):
        LiveFace(avatar, np.zeros((2, 5)))
