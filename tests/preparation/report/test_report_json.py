"""The numbers of report.json against the same numbers from the files of the data set."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scene.dataset_readers import read_clip
from tests.preparation.conftest import NUM_FRAMES
from tests.preparation.synthetic_head import FOCAL

STEPS = ["tracking", "head poses", "frames", "aligning pixels", "mattes", "torso"]


@pytest.fixture(scope="module")
def world_to_camera(finished) -> np.ndarray:  # [F, 4, 4]
    return np.stack([np.linalg.inv(frame.camera_to_world) for frame in read_clip(finished.out).frames])


def test_the_file_holds_what_is_returned(finished):
    assert json.loads((finished.out / "report/report.json").read_text()) == finished.report


def test_jitter_is_the_mean_second_difference(finished, world_to_camera):
    turns = Rotation.from_matrix(world_to_camera[:, :3, :3] @ world_to_camera[0, :3, :3].T).as_rotvec()
    wanted = {
        "degrees": np.abs(np.diff(np.rad2deg(turns), n=2, axis=0)).mean(),
        "head_units": np.abs(np.diff(world_to_camera[:, :3, 3], n=2, axis=0)).mean(),
    }
    # Matrices are written with 7 decimal places.
    assert finished.report["jitter"]["after_smoothing"] == pytest.approx(wanted, rel=1e-3)
    assert finished.report["jitter"]["landmarks"]["degrees"] > wanted["degrees"]


def test_pixels_bring_the_poses_nearer_to_the_truth_than_landmarks(finished):
    errors = finished.report["photometric_px"]
    assert errors["median"] < errors["mean"] < errors["mean_with_landmark_poses"]
    assert errors["mean"] <= errors["worst_frame"]
    assert finished.report["reprojection_px"]["mean"] <= finished.report["reprojection_px"]["worst_frame"]


def test_distance_and_focal_length_are_those_of_the_files(finished, world_to_camera):
    depths = -world_to_camera[:, 2, 3]
    assert finished.report["camera_distance"] == pytest.approx([depths.min(), depths.max()], abs=1e-5)
    assert finished.report["focal"]["source"] == "given by --focal"
    assert finished.report["focal"]["pixels"] == pytest.approx(FOCAL * 256 / finished.report["crop"]["side"])


def test_steps_are_named_and_their_speeds_follow_from_the_times(finished):
    assert list(finished.report["seconds"]) == list(finished.report["frames_per_second"]) == STEPS
    for step, seconds in finished.report["seconds"].items():
        speed = finished.report["frames_per_second"][step]
        # Speeds are rounded to a tenth; times are never taken for less than a millisecond.
        assert speed == pytest.approx(NUM_FRAMES / max(seconds, 1e-3), abs=0.051)
