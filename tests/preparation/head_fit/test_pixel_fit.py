"""A clip refined on its pixels: from a detector's wrong poses to the true ones, and the cache."""

import numpy as np
import pytest

from preparation.geometry.rigid import Poses, exp_so3, log_so3, mean_rotation
from preparation.head_fit.head_fit import Fit, HeadFit
from preparation.head_fit.pixel_fit import refine_fit
from tests.preparation.head_fit.conftest import NUM_DRAWN
from tests.preparation.head_fit.talking_head import FACING, columns, observe

# The detector sees nods a fifth too small, and its own poses are restless.
BIAS, RESTLESS = 0.2, np.deg2rad(1.5)
NOISY = 7


@pytest.fixture(scope="module")
def start(drawn):
    """What landmarks say: poses and expressions that are off, and the landmarks themselves."""
    truth, rng = drawn.truth, np.random.default_rng(0)
    vectors = log_so3(truth.poses.rotations @ FACING.T)
    vectors[:, 0] *= 1 - BIAS
    biased = truth._replace(poses=Poses(exp_so3(vectors) @ FACING, truth.poses.translations))
    poses = biased.poses.moved(
        RESTLESS / np.sqrt(3) * rng.normal(size=(NUM_DRAWN, 3)),
        0.02 * rng.normal(size=(NUM_DRAWN, 3)) * [0.2, 0.2, 1],
    )
    is_lively = truth.coefficients > 0
    coefficients = (truth.coefficients + 0.08 * rng.normal(size=is_lively.shape) * is_lively).clip(0, 1)
    fit = Fit(poses, coefficients, poses)
    head_fit = HeadFit(truth.head, truth.person, truth.mesh, fit, coefficients, np.full(478, 1.0))
    return head_fit, observe(biased, 0.4)[..., :2]


@pytest.fixture(scope="module")
def refined(drawn, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    read = []

    def read_frame(row):
        read.append(row)
        if row == NOISY:
            shape = drawn.frames[row].shape
            return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return drawn.frames[row]

    head_fit, landmarks = start
    found = refine_fit(read_frame, head_fit, landmarks, drawn.truth.camera, folder, quiet=True)
    assert set(read) == set(range(NUM_DRAWN))
    return found, folder


GOOD = np.delete(np.arange(NUM_DRAWN), NOISY)


def errors(found, true):
    """Degrees of each frame, but for a turn of the head frame that is common to all of them."""
    relative = true.rotations.transpose(0, 2, 1) @ found.rotations
    return np.rad2deg(np.linalg.norm(log_so3(relative @ mean_rotation(relative[GOOD]).T), axis=1))


def test_poses_become_true(drawn, start, refined):
    truth, found = drawn.truth.poses, refined[0]
    before, after = errors(start[0].fit.poses, truth)[GOOD], errors(found.poses, truth)[GOOD]
    assert before.mean() > 1.2
    assert after.mean() < 0.25
    assert after.max() < 0.5
    assert not found.is_rejected[GOOD].any()
    ratio = found.poses.translations[GOOD, 2] / truth.translations[GOOD, 2]
    assert np.abs(ratio - 1).max() < 0.015


def test_nods_are_no_longer_too_small_but_for_the_landmarks_own(drawn, start, refined):
    def slope(poses):
        nods, true = (log_so3(each.rotations[GOOD] @ FACING.T)[:, 0] for each in (poses, drawn.truth.poses))
        return np.polyfit(true, nods, 1)[0]

    assert slope(start[0].fit.poses) < 0.9
    assert slope(refined[0].poses) == pytest.approx(1, abs=0.02)
    assert slope(refined[0].fit.landmark_poses) < 0.9


def test_the_flow_that_is_left_is_small(refined):
    found = refined[0]
    assert found.median_flow < 0.1 * found.landmark_flow
    # Pixels.
    assert found.flow[GOOD].max() < 0.2
    assert found.flow[NOISY] > 5 * found.flow[GOOD].max()


def test_the_depth_of_a_head_that_is_right_stays(refined):
    # Head units; 0.005 are less than 2 mm.
    assert np.abs(refined[0].landmark_depths).max() < 0.005


def test_expressions_follow_the_pixels(drawn, start, refined):
    true, found = drawn.truth.coefficients, refined[0].fit.coefficients
    assert found.min() >= 0 and found.max() <= 1
    for name in ("jawOpen", "mouthSmile", "eyeBlink"):
        for column in columns(drawn.truth.head, name):
            assert np.corrcoef(found[GOOD, column], true[GOOD, column])[0, 1] > 0.95


def test_a_frame_of_noise_stays_about_where_its_landmarks_are(start, refined):
    found, begun = refined[0], start[0].fit
    moved = log_so3(found.poses.rotations[NOISY] @ begun.poses.rotations[NOISY].T)
    assert np.rad2deg(np.linalg.norm(moved)) < 20
    assert np.isfinite(found.fit.coefficients[NOISY]).all()


def test_what_was_found_is_read_again(drawn, start, refined):
    found, folder = refined

    def never(row):
        raise AssertionError("a picture was read")

    again = refine_fit(never, *start, drawn.truth.camera, folder, quiet=True)
    for name, value in found._asdict().items():
        if name != "fit":
            np.testing.assert_array_equal(getattr(again, name), value)
    np.testing.assert_array_equal(again.fit.coefficients, found.fit.coefficients)
    for name in ("poses", "landmark_poses"):
        for one, other in zip(getattr(again.fit, name), getattr(found.fit, name), strict=True):
            np.testing.assert_array_equal(one, other)
    assert type(again.median_flow) is float


def test_frames_are_left_out_of_all_of_it(refined):
    found, rows = refined[0], np.array([2, 5, 6])
    fewer = found.select(rows)
    np.testing.assert_array_equal(fewer.flow, found.flow[rows])
    np.testing.assert_array_equal(fewer.is_rejected, found.is_rejected[rows])
    np.testing.assert_array_equal(fewer.poses.rotations, found.poses.rotations[rows])
    np.testing.assert_array_equal(fewer.fit.coefficients, found.fit.coefficients[rows])
    np.testing.assert_array_equal(
        fewer.fit.landmark_poses.translations, found.fit.landmark_poses.translations[rows]
    )
    assert fewer.median_flow == found.median_flow
