import numpy as np
import pytest

from preparation.tracking.smoothing import (
    best_strength,
    cutoff_of,
    jitter,
    low_pass,
    runs,
    smooth_poses,
    strength_of,
)
from tests.preparation.synthetic_head import angles, moving_poses


def wave(frequency: float, count: int = 400) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(count))[:, None]


@pytest.mark.parametrize("cutoff", [0.1, 0.24])
def test_half_the_power_is_left_at_the_cutoff_without_lag(cutoff):
    frames = np.arange(400)
    smoothed = low_pass(wave(cutoff), frames, cutoff)[50:-50]
    original = wave(cutoff)[50:-50]
    gain = float((smoothed * original).sum() / (original**2).sum())
    assert gain == pytest.approx(1 / np.sqrt(2), rel=1e-2)
    # No lag: nothing goes with the wave a quarter of a period later.
    quarter = np.cos(2 * np.pi * cutoff * np.arange(400))[50:-50, None]
    assert abs(float((smoothed * quarter).sum() / (original**2).sum())) < 1e-2


def test_strength_and_cutoff_invert_each_other():
    for cutoff in (0.02, 0.1, 0.3, 0.49):
        assert cutoff_of(strength_of(cutoff)) == pytest.approx(cutoff)


def test_straight_motion_stays_as_it_is():
    # The cosines' even ends bend a slope only near them.
    line = np.linspace(0, 1, 300)[:, None]
    assert np.abs(low_pass(line, np.arange(300), 0.2) - line)[5:-5].max() < 1e-4


def test_clean_motion_is_hardly_smoothed_and_noisy_motion_is():
    frames, clean = np.arange(400), wave(0.01)
    noisy = clean + 0.1 * np.random.default_rng(0).normal(size=clean.shape)
    assert cutoff_of(best_strength(noisy, frames)) < 0.1
    smoothed = low_pass(noisy, frames, cutoff_of(best_strength(noisy, frames)))
    assert np.std(smoothed - clean) < 0.5 * np.std(noisy - clean)
    lively = wave(0.2)
    kept = low_pass(lively, frames, cutoff_of(best_strength(lively, frames)))
    # Of an amplitude of 1.
    assert np.std(kept - lively) < 0.05


def test_gaps_separate_runs():
    frames = np.array([0, 1, 2, 5, 6, 9])
    assert runs(frames) == [slice(0, 3), slice(3, 5), slice(5, 6)]
    jump = np.repeat([0.0, 1.0], 20)[:, None]
    frames = np.concatenate([np.arange(20), np.arange(30, 50)])
    assert np.allclose(low_pass(jump, frames, 0.05), jump)
    assert jitter(jump, frames) == pytest.approx(0)


def test_noise_of_poses_shrinks_and_the_motion_stays():
    truth = moving_poses(200)
    random = np.random.default_rng(0)
    noisy = truth.moved(0.005 * random.normal(size=(200, 3)), 0.005 * random.normal(size=(200, 3)))
    smoothed = smooth_poses(noisy, np.arange(200), rate=25).poses
    before = angles(noisy.rotations, truth.rotations).mean()
    assert angles(smoothed.rotations, truth.rotations).mean() < 0.7 * before
    shifts = [np.linalg.norm(poses.translations - truth.translations, axis=1) for poses in (smoothed, noisy)]
    assert shifts[0].mean() < 0.7 * shifts[1].mean()


def test_motion_faster_than_the_frames_is_not_taken_for_noise():
    # Nodding in 15 frames at 5 per second has no more order than noise.
    turns = np.deg2rad(3) * np.random.default_rng(0).normal(size=(15, 3))
    still = moving_poses(1).select(np.zeros(15, int))
    nodding = still.moved(turns, np.zeros((15, 3)))
    smoothed = smooth_poses(nodding, np.arange(15), rate=5).poses
    assert angles(smoothed.rotations, nodding.rotations).mean() < 0.2 * np.rad2deg(
        np.linalg.norm(turns, axis=1).mean()
    )
