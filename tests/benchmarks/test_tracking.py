"""The comparison of tracked clips with the truth finds what was put in."""

import numpy as np
import pytest

from benchmarks.tracking import compare_expressions, compare_poses


def rotations(yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Cameras at yaw and pitch (degrees) around a head. [F, 3, 3]"""
    a, b = np.radians(yaw), np.radians(pitch)
    zero, one = np.zeros_like(a), np.ones_like(a)
    about_y = np.array([[np.cos(a), zero, np.sin(a)], [zero, one, zero], [-np.sin(a), zero, np.cos(a)]])
    about_x = np.array([[one, zero, zero], [zero, np.cos(b), np.sin(b)], [zero, -np.sin(b), np.cos(b)]])
    return np.moveaxis(about_y, -1, 0) @ np.moveaxis(about_x, -1, 0)


def test_a_head_built_too_flat_shows_in_the_slope():
    rng = np.random.default_rng(0)
    yaw, pitch = rng.uniform(-6, 6, 200), rng.uniform(-4, 4, 200)
    found = compare_poses(rotations(1.4 * yaw, pitch), rotations(yaw, pitch))
    assert found["yaw slope"] == pytest.approx(1.4, abs=0.02)
    assert found["pitch slope"] == pytest.approx(1, abs=0.02)


def test_another_head_frame_is_no_error():
    rng = np.random.default_rng(1)
    truth = rotations(rng.uniform(-9, 9, 50), rng.uniform(-5, 5, 50))
    tilted = rotations(np.array([2.0]), np.array([7.0]))[0]
    found = compare_poses(tilted @ truth, truth)
    assert found["rotation error, mean"] < 1e-5
    assert found["jitter of the error"] < 1e-5


def test_a_curve_that_stands_still_is_left_out():
    names = ["jawOpen", "mouthPucker", *(f"eyeBlink{side}" for side in ("Left", "Right"))]
    names += [n for side in ("Left", "Right") for n in (f"mouthSmile{side}", f"browDown{side}")]
    names += ["browInnerUp", "browOuterUpLeft", "browOuterUpRight"]
    names += [f"eyeLook{way}{side}" for way in ("Down", "Up") for side in ("Left", "Right")]
    truth = np.zeros((40, len(names)))
    truth[:, 0] = np.linspace(0, 1, 40)
    found = 0.5 * truth + 0.1
    assert compare_expressions(found, truth, names) == {"jawOpen": pytest.approx(1)}
