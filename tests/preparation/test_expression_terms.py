import numpy as np
import pytest

from preparation.crop import Crop
from preparation.expression_terms import (
    GAZE_UNIT,
    LANDMARKS,
    MOUTH_UNIT,
    TERMS,
    expression_terms,
    term_names,
    unpose,
)
from preparation.heads import Solution
from preparation.landmarks import LandmarkTrack
from preparation.rigid import project
from tests.preparation.synthetic_head import NAMES, camera, mean_landmarks, moving_poses

COUNT, SIZE = 100, 512
NO_CUTOFF = 0.5  # cycles per frame
RIGHT_EYE, LEFT_EYE, IRISES, LIDS = (33, 133), (263, 362), (468, 473), ((159, 145), (386, 374))
CHIN, LOWER_LIP, MOUTH_CORNERS = (148, 152, 377), 14, (61, 291)


def still() -> np.ndarray:  # [F, 478, 3] head units
    return np.tile(mean_landmarks(), (COUNT, 1, 1))


def wave(amplitude: float, cycles: float = 3.0) -> np.ndarray:  # [F], zero median
    return amplitude * np.sin(2 * np.pi * cycles * (np.arange(COUNT) + 0.5) / COUNT)


def measure(moving: np.ndarray, kinds=("gaze", "jaw"), dropped=(), cutoff=NO_CUTOFF) -> dict[str, np.ndarray]:
    """The terms by name of a face whose landmarks [F, 478, 3] move in a head that moves."""
    poses, view = moving_poses(COUNT), camera(SIZE)
    points = poses.apply(moving)
    pixels = np.concatenate([project(points, view.focal, view.center), points[..., 2:]], axis=-1)
    track = LandmarkTrack(
        pixels.astype(np.float32),
        np.zeros((COUNT, len(NAMES))),
        np.ones(COUNT),
        NAMES,
        dict.fromkeys(dropped, "blur"),
    )
    kept = np.flatnonzero(track.kept)
    tracked = poses.select(kept)
    solution = Solution(
        kept, mean_landmarks(), tracked, tracked, view, Crop(0, 0, SIZE), "known", np.zeros((len(kept), 1))
    )
    terms = expression_terms(kinds, track, solution, SIZE, cutoff)
    return dict(zip(term_names(kinds), terms.T, strict=True))


def test_pixels_go_back_to_where_they_came_from():
    poses, view, points = moving_poses(COUNT), camera(SIZE), mean_landmarks()
    pixels = project(poses.apply(points), view.focal, view.center)
    assert np.allclose(unpose(pixels, poses, view, points), points[:, :2], atol=1e-9)


def test_a_turning_head_with_a_still_face_has_no_terms():
    terms = measure(still())
    assert tuple(terms) == TERMS["gaze"] + TERMS["jaw"]
    for name, values in terms.items():
        assert np.abs(values).max() < 1e-3, name  # float32 pixels: 3e-5 of 512, 1e-4 of a unit


def test_moving_irises_are_the_gaze():
    moving, eye = still(), mean_landmarks()
    for iris, (outer, inner) in zip(IRISES, (RIGHT_EYE, LEFT_EYE), strict=True):
        half = np.linalg.norm(eye[outer, :2] - eye[inner, :2]) / 2
        moving[:, iris, 0] += wave(0.1) * half
        moving[:, iris, 1] += wave(0.05, 2) * half
    terms = measure(moving)
    assert np.allclose(terms["gazeX"], wave(0.1) / GAZE_UNIT, atol=1e-3)
    assert np.allclose(terms["gazeY"], wave(0.05, 2) / GAZE_UNIT, atol=1e-3)
    assert np.abs(np.array([terms[name] for name in TERMS["jaw"]])).max() < 1e-3


def test_the_gaze_behind_shut_lids_is_that_around_the_blink():
    moving = still()
    for upper, lower in LIDS:
        moving[40:46, upper] = moving[40:46, lower]
    moving[40:46, IRISES, 1] -= 0.02
    assert np.abs(measure(moving)["gazeY"]).max() < 1e-3


def test_chin_and_lips_are_the_jaw_terms_zero_when_shut():
    moving = still()
    opening = np.clip(wave(0.05), 0, None)  # shut half of the time
    moving[:, (*CHIN, LOWER_LIP), 1] -= opening[:, None]
    moving[:, CHIN, 0] += wave(0.01, 5)[:, None]
    moving[:, MOUTH_CORNERS[0], 0] -= wave(0.004, 2)
    moving[:, MOUTH_CORNERS[1], 0] += wave(0.004, 2)
    terms = measure(moving)
    assert np.allclose(terms["jawDrop"], opening / MOUTH_UNIT, atol=1e-3)
    assert np.allclose(terms["mouthOpen"], opening / MOUTH_UNIT, atol=1e-3)
    assert np.allclose(terms["jawShift"], wave(0.01, 5) / MOUTH_UNIT, atol=1e-3)
    # The corners of the mouth are not level: their distance grows a little less than they move.
    assert np.allclose(terms["mouthWidth"], wave(0.008, 2) / MOUTH_UNIT, atol=0.01)


def test_only_the_kinds_that_are_asked_for_in_the_order_of_terms():
    assert tuple(measure(still(), ["jaw"])) == TERMS["jaw"]
    assert term_names(["jaw", "gaze"]) == TERMS["gaze"] + TERMS["jaw"]
    assert term_names(()) == ()


def test_dropped_frames_have_no_terms_and_leave_the_others_alone():
    moving = still()
    moving[:, CHIN, 1] -= np.clip(wave(0.05), 0, None)[:, None]
    whole, dropped = measure(moving)["jawDrop"], (0, 17, 18)
    part = measure(moving, dropped=dropped)["jawDrop"]
    assert np.flatnonzero(np.isnan(part)).tolist() == list(dropped)
    kept = np.isfinite(part)
    assert np.allclose(part[kept], whole[kept], atol=1e-3)


def test_terms_are_smoothed_without_lag():
    moving = still()
    moving[:, CHIN, 0] += (wave(0.02, 2) + wave(0.01, 40))[:, None]
    smoothed = measure(moving, cutoff=0.1)["jawShift"][10:-10]
    assert np.allclose(smoothed, wave(0.02, 2)[10:-10] / MOUTH_UNIT, atol=0.02)


@pytest.mark.parametrize("kind", TERMS)
def test_the_terms_read_the_landmarks_that_are_taken_back_and_no_others(kind):
    moving = still()
    others = np.setdiff1d(np.arange(478), LANDMARKS)
    moving[:, others] += 0.05
    terms = measure(moving, [kind])
    assert np.abs(np.array(list(terms.values()))).max() < 1e-3
