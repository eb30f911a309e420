import numpy as np
import pytest

from preparation.tracking.face_texture import median_texture
from preparation.tracking.poses_from_pixels import refine_poses
from preparation.tracking.relief import face_relief, mend_relief
from tests.preparation.synthetic_head import angles, camera, draw, mean_landmarks, moving_poses

NUM_FRAMES, SIZE = 24, 384


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    poses, view = moving_poses(NUM_FRAMES), camera(SIZE)
    return [draw(poses, frame, view, SIZE) for frame in range(NUM_FRAMES)]


def relative(rotations: np.ndarray) -> np.ndarray:
    """A turn common to all frames is the texture's own frame of reference."""
    return rotations @ rotations[NUM_FRAMES // 2].T


def test_pixels_take_the_landmarks_noise_out_of_the_poses(frames):
    truth, random = moving_poses(NUM_FRAMES), np.random.default_rng(0)
    turns, shifts = (
        np.deg2rad(0.8) * random.normal(size=(NUM_FRAMES, 3)),
        random.normal(size=(NUM_FRAMES, 3)),
    )
    start = truth.moved(turns, shifts * [0.004, 0.004, 0.03])
    found = refine_poses(frames.__getitem__, start, mean_landmarks(), camera(SIZE), quiet=True)
    assert not found.is_rejected.any()
    assert found.flow.mean() < 0.5 * found.landmark_flow
    before = angles(relative(start.rotations), relative(truth.rotations))
    after = angles(relative(found.poses.rotations), relative(truth.rotations))
    assert before.mean() > 1.0
    assert after.max() < 0.5
    assert (np.abs(found.poses.translations[:, 2] / truth.translations[:, 2] - 1)).max() < 0.01


def test_a_refinement_is_read_again(frames, tmp_path):
    truth, calls = moving_poses(NUM_FRAMES), []

    def read(index: int) -> np.ndarray:
        calls.append(index)
        return frames[index]

    first = refine_poses(read, truth, mean_landmarks(), camera(SIZE), tmp_path, quiet=True)
    calls.clear()
    second = refine_poses(read, truth, mean_landmarks(), camera(SIZE), tmp_path, quiet=True)
    assert not calls
    assert np.array_equal(first.poses.rotations, second.poses.rotations)
    assert second.median_flow == first.median_flow


def test_a_pose_that_leads_astray_is_left_alone(frames):
    truth = moving_poses(NUM_FRAMES)
    lost = np.zeros((NUM_FRAMES, 3))
    # Beside the head: nothing to see.
    lost[5, 0] = 2.0
    start = truth.moved(np.zeros((NUM_FRAMES, 3)), lost)
    found = refine_poses(frames.__getitem__, start, mean_landmarks(), camera(SIZE), quiet=True)
    assert found.is_rejected.nonzero()[0].tolist() == [5]
    assert np.array_equal(found.poses.translations[5], start.translations[5])


def test_the_relief_leaves_out_mouth_eyes_and_rim():
    relief, landmarks = face_relief(mean_landmarks()), mean_landmarks()
    for inside_a_mouth_or_eye in (13, 159, 386):
        distance = np.linalg.norm(relief.points[:, :2] - landmarks[inside_a_mouth_or_eye, :2], axis=1)
        assert distance.min() > 0.01
    bridge = landmarks[6]
    nearest = relief.points[np.linalg.norm(relief.points[:, :2] - bridge[:2], axis=1).argmin()]
    assert nearest == pytest.approx(bridge, abs=0.01)
    assert (relief.normals[:, 2] > 0).all()


def test_flow_that_goes_with_the_view_mends_the_depth():
    relief, poses = face_relief(mean_landmarks()), moving_poses(60)
    views = np.einsum("fij,fi->fj", poses.rotations, poses.translations)
    direction = -views[:, :2] / views[:, 2:]
    # The relief's error, and how it shows, x right and y up: head units.
    too_near = 0.02
    shift = -too_near * (direction - direction.mean(axis=0))
    texels = np.repeat((shift / [0.0025, -0.0025])[:, None], len(relief.points), axis=1)
    mended = mend_relief(relief, list(texels), poses)
    change = mended.points[:, 2] - relief.points[:, 2]
    # Some is given to the prior of no error.
    assert np.median(change) == pytest.approx(-too_near, rel=0.35)
    assert np.allclose(mended.points[:, :2], relief.points[:, :2])


def test_the_median_texture_knows_what_was_never_seen():
    textures = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [2.0, np.nan, np.nan]])
    assert np.array_equal(median_texture(textures), [2, 5, np.nan], equal_nan=True)
