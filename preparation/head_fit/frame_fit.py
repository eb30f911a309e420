"""Pose and expression of every frame, from the landmarks, of a person who is known."""

from collections.abc import Callable

import numpy as np

from parametric_head.model import ParametricHead
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from preparation.head_fit.bounded_steps import bounded_step
from preparation.head_fit.expression_prior import expression_precision, tidy_gaze
from preparation.head_fit.landmark_model import (
    GAPS,
    HeadPoints,
    gap_weights,
    landmark_trust,
    landmark_weights,
    linearize,
)

_STEPS = 7
# Frames at once; bounds the memory.
CHUNK = 64


def fit_frames(
    head: ParametricHead,
    points: HeadPoints,
    observed: np.ndarray,  # [F, 478, 2] pixels
    poses: Poses,
    expected: np.ndarray,  # [F, E]
    sigmas: np.ndarray,  # [478] pixels
    camera: Camera,
    on_chunk: Callable[[int], object] = lambda count: None,
) -> tuple[Poses, np.ndarray]:
    """Find poses and coefficients [F, E] of all frames. poses: to begin with.

    expected: coefficients that are likely (`expected_coefficients`). on_chunk: told how many more are done.
    """
    precision = expression_precision(head)
    rotations, translations, coefficients = [], [], []
    for start in range(0, len(observed), CHUNK):
        rows = slice(start, start + CHUNK)
        found, values = poses.select(rows), expected[rows].copy()
        for _ in range(_STEPS):
            system, right = landmark_equations(points, observed[rows], found, values, sigmas, camera)
            system[:, 6:, 6:] += precision
            right[:, 6:] -= (values - expected[rows]) @ precision
            motion = bounded_step(system, right, values)
            found = found.moved(motion[:, :3], motion[:, 3:6])
            values = tidy_gaze(np.clip(values + motion[:, 6:], 0, 1), head)
        rotations.append(found.rotations)
        translations.append(found.translations)
        coefficients.append(values)
        on_chunk(len(values))
    return Poses(np.concatenate(rotations), np.concatenate(translations)), np.concatenate(coefficients)


def landmark_equations(
    points: HeadPoints,
    observed: np.ndarray,
    poses: Poses,
    coefficients: np.ndarray,
    sigmas: np.ndarray,
    camera: Camera,
) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations [F, 6 + E, 6 + E], [F, 6 + E] of pose and coefficients, without a prior."""
    trust = landmark_trust(observed, points, poses)
    residual, jacobian, _ = linearize(observed, points, poses, coefficients, camera)
    upper, lower = GAPS.T
    apart = residual[:, upper] - residual[:, lower]
    weight = landmark_weights(residual, trust, sigmas), gap_weights(apart, trust, sigmas)
    weight, residual = np.concatenate(weight, axis=1), np.concatenate([residual, apart], axis=1)
    jacobian = np.concatenate([jacobian, jacobian[:, upper] - jacobian[:, lower]], axis=1)
    num_frames, size = len(observed), jacobian.shape[-1]
    flat = jacobian.reshape(num_frames, -1, size)
    weighted = (weight[..., None, None] * jacobian).reshape(num_frames, -1, size).transpose(0, 2, 1)
    return weighted @ flat, (weighted @ residual.reshape(num_frames, -1, 1))[..., 0]
