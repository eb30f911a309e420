import numpy as np

from preparation.geometry.landmark_names import STABLE
from preparation.geometry.rigid import Poses, project
from preparation.tracking import bundle_adjustment
from preparation.tracking.bundle_adjustment import solve
from tests.preparation.synthetic_head import camera, mean_landmarks, moving_poses, observe


def test_derivatives_agree_with_central_differences():
    truth, view, step = moving_poses(3), camera(), 1e-6
    points = mean_landmarks()[:20]
    observed = np.zeros((3, 20, 2))
    _, by_pose, by_point = bundle_adjustment._linearize(observed, points, truth, view)

    def predicted(poses: Poses, shape: np.ndarray) -> np.ndarray:
        return project(poses.apply(shape), view.focal, view.center)

    for i in range(6):
        motion = np.zeros((3, 6))
        motion[:, i] = step
        forward = predicted(truth.moved(motion[:, :3], motion[:, 3:]), points)
        backward = predicted(truth.moved(-motion[:, :3], -motion[:, 3:]), points)
        # Central differences of numbers near 1000 with a step of 1e-6 keep 6 digits.
        assert np.allclose((forward - backward) / (2 * step), by_pose[..., i], rtol=1e-4, atol=1e-3)
    for i in range(3):
        shift = step * np.eye(3)[i]
        forward, backward = predicted(truth, points + shift), predicted(truth, points - shift)
        assert np.allclose((forward - backward) / (2 * step), by_point[..., i], rtol=1e-4, atol=1e-3)


def test_the_schur_complement_solves_the_whole_system():
    truth, view = moving_poses(4), camera()
    points = mean_landmarks()[STABLE[:12]]
    observed = project(truth.apply(points), view.focal, view.center)
    observed += np.random.default_rng(0).normal(size=observed.shape)
    sigmas, stiffness = np.ones(12), 50.0
    problem = bundle_adjustment._Problem(observed, np.ones((4, 12)), view, points, stiffness)
    shape, poses = bundle_adjustment._step(problem, points, truth, sigmas, damping=0.0)

    residual, by_pose, by_point = bundle_adjustment._linearize(observed, points, truth, view)
    weight = np.sqrt(bundle_adjustment._robust_weights(residual, sigmas))
    jacobian = np.zeros((4, 12, 2, 24 + 36))
    for f in range(4):
        jacobian[f, ..., 6 * f : 6 * f + 6] = by_pose[f]
        for p in range(12):
            jacobian[f, p, :, 24 + 3 * p : 27 + 3 * p] = by_point[f, p]
    jacobian = (weight[..., None, None] * jacobian).reshape(-1, 60)
    system = jacobian.T @ jacobian + np.diag([0.0] * 24 + [stiffness] * 36)
    change = np.linalg.solve(system, jacobian.T @ (weight[..., None] * residual).ravel())
    assert np.allclose(shape, points + change[24:].reshape(-1, 3), atol=1e-6)
    motion = change[:24].reshape(4, 6)
    wanted = truth.moved(motion[:, :3], motion[:, 3:])
    assert np.allclose(poses.translations, wanted.translations, atol=1e-6)


def test_frames_are_solved_in_chunks_as_at_once(monkeypatch):
    truth, view = moving_poses(20), camera()
    observed = observe(truth, view, noise=0.3)[:, STABLE, :2]
    start = truth.moved(np.full((20, 3), 0.02), np.full((20, 3), 0.01))
    whole = solve(observed, mean_landmarks()[STABLE], start, view)
    monkeypatch.setattr(bundle_adjustment, "_CHUNK", 7)
    chunked = solve(observed, mean_landmarks()[STABLE], start, view)
    assert np.allclose(chunked.poses.translations, whole.poses.translations, atol=1e-9)


def test_noisy_landmarks_count_less():
    truth, view = moving_poses(60), camera(512)
    observed = observe(truth, view, noise=0.2)[:, STABLE, :2]
    observed[:, :5] += np.random.default_rng(1).normal(scale=5, size=(60, 5, 2))
    found = solve(observed, mean_landmarks()[STABLE], truth, view)
    assert found.sigmas[:5].min() > 5 * np.median(found.sigmas[5:])
