"""One rigid shape for a person's stable landmarks and the head's pose in every frame, by bundle adjustment.

Minimises robust reprojection errors over all poses and points at once (Triggs et al. 2000): Gauss-Newton
steps with Levenberg's damping, analytic derivatives, and the Schur complement, in which the poses, 6 numbers
each, are eliminated first: the system that is left has 3 unknowns a point however long the clip. The
detector's own mean shape is a weak prior: it fixes the frame of reference and the depths that a clip with
little motion cannot tell.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, Similarity, align, project
from utils.so3 import skew

# Shares of the shape's size: how far the detector's mean shape is trusted.
PRIOR_SIGMA = 0.04
# Sigmas at which an error has half the weight of a small one.
ROBUST_SCALE = 2.5
MAX_STEPS = 30
# Relative decrease of the cost.
_CONVERGED = 1e-5
# Frames at once; bounds the memory.
_CHUNK = 512


class Adjusted(NamedTuple):
    """What bundle adjustment found."""

    shape: np.ndarray  # [P, 3] head units
    poses: Poses
    # The noise of each landmark.
    sigmas: np.ndarray  # [P] pixels
    # Robust, mean over observations.
    cost: float


class _Problem(NamedTuple):
    """What is known: observations, and the shape that is expected."""

    observed: np.ndarray  # [F, P, 2] pixels
    weights: np.ndarray  # [F, P]
    camera: Camera
    prior: np.ndarray  # [P, 3]
    # One over the squared deviation from the prior; infinite where the shape is kept.
    stiffness: float

    @property
    def is_fixed(self) -> bool:
        return bool(np.isinf(self.stiffness))


class _Equations(NamedTuple):
    """The normal equations of some frames; the points' parts are None where the shape is kept."""

    by_pose: np.ndarray  # [f, 6, 6]
    pose_right: np.ndarray  # [f, 6]
    mixed: np.ndarray | None = None  # [f, 6, 3P]
    by_point: np.ndarray | None = None  # [P, 3, 3]
    point_right: np.ndarray | None = None  # [3P]


def mean_shape(landmarks: np.ndarray, rounds: int = 5) -> np.ndarray:
    """Average the detector's 3D landmarks [F, P, 3] up to similarity (Procrustes analysis, Gower 1975).

    Returns the shape [P, 3] with unit RMS radius.
    """
    shape = landmarks[len(landmarks) // 2]
    for _ in range(rounds):
        shape = shape - shape.mean(axis=0)
        shape = shape / np.sqrt((shape**2).sum(axis=1).mean())
        shape = np.median(align(landmarks, shape).apply(landmarks), axis=0)
    return shape


def initial_poses(to_pixels: Similarity, camera: Camera) -> Poses:
    """Turn weak-perspective similarities into poses: scale tells the depth, x and y tell the rest."""
    depth = camera.focal / to_pixels.scale  # [F]
    xy = (to_pixels.translation[:, :2] - camera.center) * (depth / camera.focal)[:, None]
    return Poses(to_pixels.rotation, np.column_stack([xy, depth]))


def solve(
    observed: np.ndarray,  # [F, P, 2] pixels
    shape: np.ndarray,  # [P, 3]
    poses: Poses,
    camera: Camera,
    weights: np.ndarray | None = None,  # [F, P]
    prior_sigma: float = PRIOR_SIGMA,
    on_step: Callable[[], object] = lambda: None,
) -> Adjusted:
    """Refine shape and poses. A weight of 0 leaves an observation out.

    `shape` is the prior too; prior_sigma is in shares of its RMS radius, 0 keeps the shape.
    """
    weights = np.ones(observed.shape[:2]) if weights is None else weights
    radius = np.sqrt(((shape - shape.mean(0)) ** 2).sum(axis=1).mean())
    stiffness = 1 / (prior_sigma * radius) ** 2 if prior_sigma else np.inf
    problem = _Problem(observed, weights, camera, shape, stiffness)
    sigmas = _noise(problem, shape, poses)
    cost = _cost(problem, shape, poses, sigmas)
    damping = 1e-4
    for step in range(MAX_STEPS):
        on_step()
        new_shape, new_poses = _step(problem, shape, poses, sigmas, damping)
        new_cost = _cost(problem, new_shape, new_poses, sigmas)
        if new_cost > cost:
            damping *= 10
            if damping > 1e6:
                break
            continue
        has_converged = cost - new_cost < _CONVERGED * cost
        shape, poses, damping = new_shape, new_poses, max(damping / 5, 1e-9)
        if has_converged and step > 3:
            break
        sigmas = _noise(problem, shape, poses)
        cost = _cost(problem, shape, poses, sigmas)
    return Adjusted(shape, poses, sigmas, cost / max(1.0, float(weights.sum())))


def triangulate(
    observed: np.ndarray,  # [F, P, 2] pixels
    poses: Poses,
    camera: Camera,
    guess: np.ndarray,  # [P, 3] head units
    prior_sigma: float,
) -> np.ndarray:  # [P, 3]
    """Find the mean places of points whose pixels are known in frames whose poses are known.

    prior_sigma: how far the guess is trusted, head units.
    """
    rounds, points = 5, guess
    for _ in range(rounds):
        residual, _, by_point = _linearize(observed, points, poses, camera)  # [F, P, 2], [F, P, 2, 3]
        weights = _robust_weights(residual, _spread(residual))[..., None, None]
        system = np.einsum("fpij,fpik->pjk", weights * by_point, by_point)
        right = np.einsum("fpij,fpi->pj", weights * by_point, residual)
        stiffness = 1 / prior_sigma**2
        right += stiffness * (guess - points)
        points = points + np.linalg.solve(system + stiffness * np.eye(3), right[..., None])[..., 0]
    return points


def reprojection_errors(observed: np.ndarray, shape: np.ndarray, poses: Poses, camera: Camera) -> np.ndarray:
    """Distances [F, P] in pixels."""
    predicted = project(poses.apply(shape), camera.focal, camera.center)
    return np.linalg.norm(observed - predicted, axis=-1)


def _step(
    problem: _Problem, shape: np.ndarray, poses: Poses, sigmas: np.ndarray, damping: float
) -> tuple[np.ndarray, Poses]:
    """One damped Gauss-Newton step, poses eliminated: (C - sum W^T V^-1 W) dX = g - sum W^T V^-1 v."""
    num_points = len(shape)
    system = np.zeros((3 * num_points, 3 * num_points))
    right = np.zeros(3 * num_points)
    kept = []
    for rows in _chunks(len(problem.observed)):
        equations = _normal_equations(problem, rows, shape, poses.select(rows), sigmas, damping)
        kept.append(equations[:3])
        if problem.is_fixed:
            continue
        pose_system, pose_right, mixed, blocks, point_right = equations
        for p in range(num_points):
            system[3 * p : 3 * p + 3, 3 * p : 3 * p + 3] += blocks[p]
        right += point_right
        solved = np.linalg.solve(pose_system, mixed)  # [f, 6, 3P]
        system -= mixed.reshape(-1, 3 * num_points).T @ solved.reshape(-1, 3 * num_points)
        right -= np.einsum("fjk,fj->k", solved, pose_right)
    change = np.zeros(3 * num_points)
    if not problem.is_fixed:
        right += problem.stiffness * (problem.prior - shape).ravel()
        system[np.diag_indices_from(system)] *= 1 + damping
        system[np.diag_indices_from(system)] += problem.stiffness
        change = np.linalg.solve(system, right)
    motions = []
    for pose_system, pose_right, mixed in kept:
        remaining = pose_right if mixed is None else pose_right - mixed @ change
        motions.append(np.linalg.solve(pose_system, remaining[..., None])[..., 0])
    motion = np.concatenate(motions)  # [F, 6]
    return shape + change.reshape(-1, 3), poses.moved(motion[:, :3], motion[:, 3:])


def _normal_equations(
    problem: _Problem, rows: slice, shape: np.ndarray, poses: Poses, sigmas: np.ndarray, damping: float
) -> _Equations:
    """Set up the equations of some frames, whose `poses` these are, with Levenberg's damping of the poses."""
    residual, by_pose, by_point = _linearize(problem.observed[rows], shape, poses, problem.camera)
    weight = problem.weights[rows] * _robust_weights(residual, sigmas) / sigmas**2
    weighted = weight[..., None, None] * by_pose  # [f, P, 2, 6]
    pose_system = np.einsum("fpij,fpik->fjk", weighted, by_pose)
    diagonal = np.einsum("fjj->fj", pose_system)
    diagonal *= 1 + damping
    # Frames without weight have a solution too.
    diagonal += 1e-12 + 1e-12 * diagonal.mean(axis=1, keepdims=True)
    pose_right = np.einsum("fpij,fpi->fj", weighted, residual)
    if problem.is_fixed:
        return _Equations(pose_system, pose_right)
    mixed = np.einsum("fpij,fpik->fjpk", weighted, by_point).reshape(len(residual), 6, -1)  # [f, 6, 3P]
    point_weighted = weight[..., None, None] * by_point
    blocks = np.einsum("fpij,fpik->pjk", point_weighted, by_point)
    point_right = np.einsum("fpij,fpi->pj", point_weighted, residual).ravel()
    return _Equations(pose_system, pose_right, mixed, blocks, point_right)


def _linearize(observed, shape, poses, camera):
    """Return residuals [F, P, 2] and derivatives by pose [F, P, 2, 6] and by point [F, P, 2, 3]."""
    turned = shape @ poses.rotations.transpose(0, 2, 1)  # [F, P, 3]
    x, y, z = np.moveaxis(turned + poses.translations[:, None], -1, 0)
    residual = observed - np.stack([x / z, y / z], axis=-1) * camera.focal - camera.center
    zero, scale = np.zeros_like(z), camera.focal / z
    by_camera = np.stack(
        [np.stack([scale, zero, -scale * x / z], -1), np.stack([zero, scale, -scale * y / z], -1)], axis=-2
    )  # [F, P, 2, 3]
    by_rotation = -by_camera @ skew(turned)
    by_point = by_camera @ poses.rotations[:, None]
    return residual, np.concatenate([by_rotation, by_camera], axis=-1), by_point


def _robust_weights(residual: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Cauchy's weights [F, P] of residuals [F, P, 2]."""
    return 1 / (1 + (residual**2).sum(-1) / (ROBUST_SCALE * sigmas) ** 2)


def _cost(problem: _Problem, shape: np.ndarray, poses: Poses, sigmas: np.ndarray) -> float:
    squared = reprojection_errors(problem.observed, shape, poses, problem.camera) ** 2
    scale = (ROBUST_SCALE * sigmas) ** 2
    cost = (problem.weights * ROBUST_SCALE**2 * np.log1p(squared / scale)).sum()
    if not problem.is_fixed:
        cost += problem.stiffness * ((shape - problem.prior) ** 2).sum()
    return float(cost)


def _noise(problem: _Problem, shape: np.ndarray, poses: Poses) -> np.ndarray:  # [P]
    """Each landmark's noise in pixels per axis; no landmark counts more than 3 times the median one."""
    predicted = project(poses.apply(shape), problem.camera.focal, problem.camera.center)
    residual = np.where(problem.weights[..., None] > 0, problem.observed - predicted, np.nan)
    sigmas = _spread(residual)
    return np.maximum(sigmas, np.nanmedian(sigmas) / 3)


def _spread(residual: np.ndarray) -> np.ndarray:  # [F, P, 2] -> [P]
    """Robust standard deviation about zero: 1.1774 is the median length of a 2D standard normal vector."""
    lengths = np.linalg.norm(residual, axis=-1)
    with np.errstate(all="ignore"):
        return np.maximum(np.nan_to_num(np.nanmedian(lengths, axis=0) / 1.1774, nan=1.0), 1e-3)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, start + _CHUNK)
