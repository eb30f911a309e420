"""Cuts and other people, on tracks of made-up pictures."""

import numpy as np
import pytest

from preparation.geometry.landmark_names import LEFT_EYE_CORNER, RIGHT_EYE_CORNER
from preparation.tracking.face_finding import CHIP, THUMBNAIL
from preparation.tracking.landmarks import LandmarkTrack
from preparation.tracking.shots import check_shots, find_cuts
from utils.errors import UserError

RATE = 25.0


def noise(shape, seed):
    return np.random.default_rng(seed).uniform(40, 215, shape)


def make_track(scenes, faces, dropped=(), yaws=None) -> LandmarkTrack:
    """A frame for each entry: the number of its scene, and of its face; each with a little noise."""
    random = np.random.default_rng(99)

    def pictures(numbers, side, first_seed):
        known = {n: noise((side, side), first_seed + n) for n in numbers}
        return (
            np.stack([known[n] + random.normal(0, 6, (side, side)) for n in numbers])
            .clip(0, 255)
            .astype(np.uint8)
        )

    num = len(scenes)
    landmarks = np.zeros((num, 478, 3), np.float32)
    yaw = np.deg2rad(np.zeros(num) if yaws is None else np.array(yaws))
    landmarks[:, RIGHT_EYE_CORNER] = 100
    landmarks[:, LEFT_EYE_CORNER] = 100 + 50 * np.stack([np.cos(yaw), 0 * yaw, np.sin(yaw)], axis=1)
    return LandmarkTrack(
        landmarks,
        np.zeros((num, 52), np.float32),
        np.ones(num, np.float32),
        (),
        dict.fromkeys(dropped, "no face"),
        pictures(scenes, THUMBNAIL, 0),
        pictures(faces, CHIP, 1_000),
    )


def test_one_shot_has_no_cut():
    track = make_track([0] * 60, [0] * 60)
    assert find_cuts(track, RATE) == [] and check_shots(track, RATE, 0.0, "clip") == []


def test_another_shot_of_the_same_person_is_a_note_with_its_time():
    track = make_track([0] * 30 + [1] * 30, [0] * 60)
    (cut,) = find_cuts(track, RATE)
    assert cut.frame == 30 and cut.is_other_shot and cut.likeness > 0.9
    (note,) = check_shots(track, RATE, 5.0, "clip")
    assert "another shot at 6.20 s" in note and "--start" in note


@pytest.mark.parametrize("scenes", [[0] * 30 + [1] * 30, [0] * 60])
def test_another_person_is_refused_with_time_and_ways_out(scenes):
    """Over a cut, or in the same place after nobody was there."""
    track = make_track(scenes, [0] * 30 + [1] * 30, dropped=range(20, 30))
    with pytest.raises(
        UserError, match=r"clip: from 1\.20 s on .* another person .*--start 1\.20.*--no-check_shots"
    ):
        check_shots(track, RATE, 0.0, "clip")


def test_a_face_that_leaves_and_comes_back_raises_no_alarm():
    track = make_track([0] * 20 + [7] * 20 + [0] * 20, [0] * 60, dropped=range(20, 40))
    assert check_shots(track, RATE, 0.0, "clip") == []


def test_faces_at_other_poses_are_not_compared():
    yaws = [0] * 30 + [25] * 30
    track = make_track([0] * 30 + [1] * 30, [0] * 30 + [1] * 30, yaws=yaws)
    assert find_cuts(track, RATE)[0].likeness is None
    assert len(check_shots(track, RATE, 0.0, "clip")) == 1


def test_a_clip_that_always_changes_has_no_cut():
    track = make_track(list(range(60)), [0] * 60)
    assert find_cuts(track, RATE) == []
