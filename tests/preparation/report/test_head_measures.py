"""Measures of a tracked head against formulas of their own, on a head of formulas."""

import numpy as np
import pytest

from parametric_head.person import Person
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, exp_so3, project
from preparation.report import head_measures
from preparation.report.head_measures import (
    REGIONS,
    TurnedRange,
    camera_angles,
    depth_tradeoff,
    explained_motion,
    held_out_explained,
    lip_and_lid_gaps,
    skin_landmarks,
    tells_depth,
    turned_range,
    verdict,
)
from tests.parametric_head.small_head import small_head, small_landmarks

CAMERA = Camera(1200.0, np.array([256.0, 250.0]))
# From the head's axes (y up, z out of the face) to the camera's.
FACING = np.diag([1.0, -1.0, -1.0])
NUM_FRAMES = 40
ADVICE = "film 30 degrees to either side"


@pytest.fixture(scope="module")
def mesh():
    head = small_head()
    person = Person(
        identity=np.zeros(len(head.identity)),
        offsets=np.zeros((478, 3)),
        places=small_landmarks(head),
        scale=0.029,
        rotation=np.eye(3),
        translation=np.zeros(3),
    )
    return person.mesh(head)


def head_poses(vectors, translation=(0.0, 0.0, 3.0)):
    """Heads turned by rotation vectors [F, 3] of their own axes."""
    rotations = FACING @ exp_so3(np.asarray(vectors, np.float64))
    return Poses(rotations, np.broadcast_to(np.array(translation, np.float64), (len(rotations), 3)))


@pytest.fixture(scope="module")
def clip(mesh):
    """Coefficients, poses, and the pixels of all landmarks, drawn one frame at a time."""
    rng = np.random.default_rng(0)
    coefficients = 0.5 * rng.uniform(size=(NUM_FRAMES, len(mesh.head.names)))
    poses = head_poses(0.2 * rng.normal(size=(NUM_FRAMES, 3)))
    return coefficients, poses, draw(mesh, coefficients, poses)


def draw(mesh, coefficients, poses):
    points = np.stack([mesh.landmarks(row) for row in coefficients])
    return project(poses.apply(points), CAMERA.focal, CAMERA.center)


def test_skin_landmarks_are_those_of_the_mesh(mesh, clip):
    expected = np.stack([mesh.landmarks(row)[:468] for row in clip[0]])
    np.testing.assert_allclose(skin_landmarks(mesh, clip[0]), expected, atol=1e-6)


def test_true_coefficients_explain_all_and_mean_ones_nothing(mesh, clip):
    coefficients, poses, pixels = clip
    shifted = pixels + np.random.default_rng(1).normal(size=(478, 2))
    true = explained_motion(mesh, coefficients, poses, shifted, CAMERA)
    mean = np.broadcast_to(coefficients.mean(axis=0), coefficients.shape)
    still = explained_motion(mesh, mean, poses, pixels, CAMERA)
    assert set(true) == {"all", "mouth", "jaw", "lids", "brows"}
    for region in true:
        assert true[region] == pytest.approx(1, abs=1e-6)
        assert still[region] == pytest.approx(0, abs=1e-6)


def test_explained_share_is_one_minus_the_ratio_of_variances(mesh, clip, monkeypatch):
    coefficients, poses, pixels = clip
    guess = 0.6 * coefficients + 0.05
    monkeypatch.setattr(head_measures, "_CHUNK", 7)
    found = explained_motion(mesh, guess, poses, pixels, CAMERA)
    mean = np.broadcast_to(guess.mean(axis=0), guess.shape)
    for region, landmarks in REGIONS.items():
        residual, motion = (
            (pixels - draw(mesh, used, poses))[:, landmarks].var(axis=0).sum() for used in (guess, mean)
        )
        assert found[region] == pytest.approx(1 - residual / motion, abs=1e-6)


def test_scores_that_are_the_coefficients_explain_them(mesh, clip):
    coefficients, poses, pixels = clip
    found = held_out_explained(mesh, coefficients, coefficients, poses, pixels, CAMERA)
    # Gains are learned from thirty frames.
    assert found["all"] > 0.99


def test_gaps_are_measured_where_the_detector_sees_lips_and_lids_closed(mesh):
    poses = head_poses(np.zeros((6, 3)))
    coefficients = np.zeros((6, len(mesh.head.names)))
    coefficients[:3, mesh.head.columns["jawOpen"]] = [0.1, 0.3, 0.2]
    pixels = draw(mesh, coefficients, poses)
    expected = pixels[:3, 14, 1] - pixels[:3, 13, 1]
    detector = pixels.copy()
    detector[3:, 14] += [0, 9]
    detector[:3, 14] = detector[:3, 13] + [2, 0.5]
    # Each eye is closed in one frame.
    detector[4, 145] = detector[4, 159]
    found = lip_and_lid_gaps(mesh, coefficients, poses, detector, CAMERA)
    assert found["lips"]["frames"] == 3
    assert found["lips"]["median"] == pytest.approx(np.median(expected), abs=1e-4)
    assert found["lips"]["95_percent"] == pytest.approx(np.percentile(expected, 95), abs=1e-4)
    assert found["lips"]["detector_median"] == pytest.approx(0.5)
    assert found["right_lids"]["median"] == pytest.approx(pixels[4, 145, 1] - pixels[4, 159, 1], abs=1e-4)
    assert found["left_lids"] == {"frames": 0}


def test_gaps_do_not_depend_on_how_the_head_is_tilted(mesh):
    coefficients = np.zeros((1, len(mesh.head.names)))
    gaps = []
    for roll in (0.0, 1.0):
        poses = head_poses([[0, 0, roll]])
        pixels = draw(mesh, coefficients, poses)
        pixels[:, 14] = pixels[:, 13]
        gaps.append(lip_and_lid_gaps(mesh, coefficients, poses, pixels, CAMERA)["lips"]["median"])
    # The head's axis is not quite through the mouth: perspective.
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-3)


@pytest.mark.parametrize(("degrees", "tells"), [(35, True), (3, False)])
def test_only_a_clip_that_turns_tells_the_depth(mesh, degrees, tells):
    rng = np.random.default_rng(0)
    turns = np.deg2rad(degrees) * np.linspace(-1, 1, NUM_FRAMES)
    poses = head_poses(np.column_stack([0.2 * turns, turns, 0 * turns]))
    rest = mesh.landmarks(np.zeros(len(mesh.head.names)))
    pixels = project(poses.apply(rest), CAMERA.focal, CAMERA.center)
    found = depth_tradeoff(rest, pixels + 0.5 * rng.normal(size=pixels.shape), poses, CAMERA)
    assert set(found) == {"0.8", "1.25"}
    assert tells_depth(found) == tells


def test_depth_that_is_wrong_by_a_factor_is_seen(mesh):
    turns = np.deg2rad(30) * np.linspace(-1, 1, NUM_FRAMES)
    poses = head_poses(np.column_stack([0 * turns, turns, 0 * turns]))
    rest = mesh.landmarks(np.zeros(len(mesh.head.names)))
    pixels = project(poses.apply(rest), CAMERA.focal, CAMERA.center)
    pixels += 0.2 * np.random.default_rng(0).normal(size=pixels.shape)
    found = depth_tradeoff(rest * [1, 1, 0.8], pixels, poses, CAMERA)
    assert found["1.25"] < 0
    assert found["0.8"] > 0
    # The depth is wrong, but the clip does tell it.
    assert tells_depth(found)


def test_angles_are_against_the_ray_to_the_camera():
    vectors = np.deg2rad([[0, 30, 0], [-20, 0, 0], [0, 0, 40], [0, -10, 0]])
    yaw, pitch = camera_angles(head_poses(vectors))
    np.testing.assert_allclose(yaw, [30, 0, 0, -10], atol=1e-9)
    np.testing.assert_allclose(pitch, [0, 20, 0, 0], atol=1e-9)
    # Half a metre to the image's right, turned back by as much: it looks into the camera.
    back = -np.arctan2(1.0, 3.0)
    aside = head_poses([[0, back, 0]], translation=(1.0, 0.0, 3.0))
    np.testing.assert_allclose(camera_angles(aside)[0], 0, atol=1e-9)


def test_range_leaves_out_the_outermost_frames():
    yaw = np.linspace(-40, 40, 401)
    yaw[200] = 85
    turned = turned_range(head_poses(np.deg2rad(np.column_stack([0 * yaw, yaw, 0 * yaw]))))
    assert turned.yaw == pytest.approx((-38, 38), abs=0.4)
    assert turned.pitch == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize(
    ("yaw", "expected"),
    [
        ((-1.0, 5.2), f"turns by 6 degrees: side views will show an average profile; {ADVICE}"),
        ((-3.0, 39.0), f"turns by -3 to 39 degrees: shows hardly more than the right side; {ADVICE}"),
        ((-39.0, 3.0), f"turns by -39 to 3 degrees: shows hardly more than the left side; {ADVICE}"),
        ((-18.0, 39.0), "turns by -18 to 39 degrees: both sides are seen"),
    ],
)
def test_verdict_says_what_is_missing(yaw, expected):
    assert verdict(TurnedRange(yaw, (-5.0, 5.0))) == expected
