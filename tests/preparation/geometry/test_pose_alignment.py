"""Two trackers' poses compared: the similarity between their head frames, and what is left."""

import numpy as np
import pytest

from preparation.geometry.head_frame import rebase
from preparation.geometry.landmark_names import STABLE
from preparation.geometry.pose_alignment import compare_poses
from preparation.geometry.rigid import Similarity, exp_so3
from tests.preparation.synthetic_head import camera, mean_landmarks, moving_poses

CHANGE = Similarity(np.float64(2.5), exp_so3(np.array([0.1, -0.3, 0.2])), np.array([0.1, -0.2, 0.15]))
POINTS = mean_landmarks()[STABLE]


def test_the_similarity_between_two_head_frames_is_found():
    poses = moving_poses(120)
    agreement = compare_poses(poses, rebase(poses, CHANGE), POINTS, camera())
    assert agreement.change.scale == pytest.approx(2.5, rel=1e-4)
    assert np.allclose(agreement.change.rotation, CHANGE.rotation, atol=1e-4)
    assert np.allclose(agreement.change.translation, CHANGE.translation, atol=1e-3)
    assert agreement.degrees.max() < 0.01
    assert agreement.pixels.max() < 0.01


def test_what_is_left_are_the_turns_of_single_frames():
    poses = moving_poses(120)
    turns = np.zeros((120, 3))
    turns[10:20, 1] = np.deg2rad(3)
    agreement = compare_poses(poses.moved(turns, np.zeros(3)), rebase(poses, CHANGE), POINTS, camera())
    assert agreement.degrees[10:20] == pytest.approx(3, abs=0.5)
    assert np.delete(agreement.degrees, np.s_[10:20]).max() < 0.5


def test_a_head_that_keeps_still_is_brought_near_the_old_origin():
    # Scale and depth of the origin cannot be told apart; both poses must show the same all the same.
    poses = moving_poses(40).select(np.zeros(40, int))
    agreement = compare_poses(poses, rebase(poses, CHANGE), POINTS, camera())
    assert agreement.degrees.max() < 0.01 + np.rad2deg(1e-3)
    assert agreement.pixels.max() < 0.5
