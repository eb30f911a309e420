import numpy as np
import pytest

from preparation.geometry.head_frame import FACE_HEIGHT, rebase, to_head_frame
from preparation.geometry.rigid import Similarity, exp_so3, project
from preparation.tracking.bundle_adjustment import reprojection_errors
from tests.preparation.synthetic_head import camera, mean_landmarks, moving_poses


def test_rebasing_leaves_the_pictures_alone():
    poses, view, points = moving_poses(5), camera(), mean_landmarks()
    change = Similarity(np.float64(1.7), exp_so3(np.array([0.1, -0.4, 0.2])), np.array([0.1, 0.2, -0.3]))
    observed = project(poses.apply(points), view.focal, view.center)
    moved = change.apply(points[None])[0]
    assert reprojection_errors(observed, moved, rebase(poses, change), view).max() < 1e-9


def test_the_head_frame_does_not_depend_on_where_the_landmarks_are_given():
    points = mean_landmarks()
    frame = to_head_frame(points).apply(points[None])[0]
    elsewhere = Similarity(np.float64(37.0), exp_so3(np.array([2.0, 0.5, -1.0])), np.array([5.0, 6, 7]))
    again = elsewhere.apply(points[None])[0]
    assert np.allclose(to_head_frame(again).apply(again[None])[0], frame, atol=1e-9)
    assert np.linalg.norm(frame[10] - frame[152]) == pytest.approx(FACE_HEIGHT)
    # The nose points along z, the left ear is at the image's right, up is up.
    assert frame[4, 2] > 0.2
    assert frame[454, 0] > 0.15
    assert frame[10, 1] > frame[152, 1]
