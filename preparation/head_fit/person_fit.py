"""Who it is: identity, with pose and expression of some frames, solved jointly from landmarks.

Unknown are the weights of the identity shapes, N(0, 1) over people; what landmarks have to themselves,
because no identity shape has it or because the detector puts them elsewhere; and 6 + E numbers a frame.
Gauss-Newton with the Schur complement: frames, which are many and small, are eliminated first. A distance
between the pupils that a population has fixes the scale, which pictures can't tell. Lengths are in cm.
"""

from typing import NamedTuple

import numpy as np

from parametric_head.landmarks import IRISES, LandmarkPlaces
from parametric_head.model import ParametricHead
from parametric_head.person import eye_centers
from preparation.geometry.camera import Camera
from preparation.geometry.landmark_names import LEFT_BROW, OUTLINE, RIGHT_BROW
from preparation.geometry.rigid import Poses
from preparation.head_fit.bounded_steps import bounded_step
from preparation.head_fit.expression_prior import expression_precision, tidy_gaze
from preparation.head_fit.landmark_model import (
    HeadPoints,
    landmark_sigmas,
    landmark_trust,
    landmark_weights,
    linearize,
    mean_points,
)
from utils.progress import track

# cm: between pupils, mean and deviation (Dodgson 2004: 6.3 and 0.4): held firmly, as pictures have no scale.
PUPILS, _PUPILS_SIGMA = 6.35, 0.005
# cm: what landmarks have to themselves; where the detector has habits of its own, at brows and outline, more.
_OFFSET_SIGMA, _HABIT_SIGMA = 0.2, 0.5
# The first steps go without offsets, which would take what is identity's.
_STEPS, _STEPS_WITHOUT_OFFSETS = 9, 3
# Standard deviations that an identity weight may move in a step.
_LONGEST_STEP = 3.0
_LEFT_PUPIL, _RIGHT_PUPIL = (int(iris[0]) for iris in IRISES)


class FittedPerson(NamedTuple):
    """A person in the model's axes and cm, and the frames that it was found from."""

    identity: np.ndarray  # [K]
    offsets: np.ndarray  # [478, 3]
    poses: Poses
    coefficients: np.ndarray  # [F, E]
    # Of the landmarks.
    sigmas: np.ndarray  # [478] pixels


class _State(NamedTuple):
    identity: np.ndarray
    offsets: np.ndarray
    poses: Poses
    coefficients: np.ndarray


class _Shapes(NamedTuple):
    """The mean head's landmarks, and how they move with the identity."""

    mean: HeadPoints
    identity: np.ndarray  # [K, 478, 3]
    eyes: np.ndarray  # [K, 2, 3]

    def of(self, identity: np.ndarray, offsets: np.ndarray) -> HeadPoints:
        neutral = self.mean.neutral + np.tensordot(identity, self.identity, 1) + offsets
        return self.mean._replace(
            neutral=neutral, eye_centers=self.mean.eye_centers + np.tensordot(identity, self.eyes, 1)
        )


def fit_person(
    head: ParametricHead,
    places: LandmarkPlaces,
    observed: np.ndarray,  # [F, 478, 2] pixels
    poses: Poses,
    expected: np.ndarray,  # [F, E]
    camera: Camera,
    noise: float,
    quiet: bool = False,
) -> FittedPerson:
    """Find a person from the landmarks of some frames.

    poses: to begin with, cm. expected: coefficients that are likely. noise: of a landmark, pixels.
    """
    shapes = _shapes(head, places)
    state = _State(np.zeros(len(head.identity)), np.zeros((len(observed[0]), 3)), poses, expected.copy())
    precision = expression_precision(head)
    offset_sigmas = np.full(len(observed[0]), _OFFSET_SIGMA)
    offset_sigmas[[*OUTLINE, *LEFT_BROW, *RIGHT_BROW]] = _HABIT_SIGMA
    sigmas = np.full(len(observed[0]), noise)
    for step in track(range(_STEPS), _STEPS, "fitting the head model", quiet=quiet):
        sigma = offset_sigmas if step >= _STEPS_WITHOUT_OFFSETS else None
        state, sigmas = _step(head, shapes, observed, state, expected, camera, noise, precision, sigma)
    return FittedPerson(*state, sigmas)


def _shapes(head: ParametricHead, places: LandmarkPlaces) -> _Shapes:
    identity = places.of(head.identity).astype(np.float64)
    eyes = eye_centers(head, head.identity)  # [K, 2, 3]
    return _Shapes(mean_points(head, places), identity, eyes.astype(np.float64))


def _step(
    head, shapes, observed, state, expected, camera, noise, precision, offset_sigmas
) -> tuple[_State, np.ndarray]:
    """One step of all unknowns, frames eliminated: (S - sum M^T L^-1 M) ds = s - sum M^T L^-1 l."""
    points = shapes.of(state.identity, state.offsets)
    trust = landmark_trust(observed, points, state.poses)
    residual, local, by_point = linearize(observed, points, state.poses, state.coefficients, camera)
    sigmas = landmark_sigmas(residual, trust, noise)
    weight = landmark_weights(residual, trust, sigmas)[..., None, None]
    num_frames, num_landmarks = residual.shape[:2]
    num_identity = len(shapes.identity)
    by_identity = by_point @ shapes.identity.transpose(1, 2, 0)  # [F, P, 2, K]

    system = _product(weight * local, local)
    right = _product(weight * local, residual[..., None])[..., 0]
    system[:, 6:, 6:] += precision
    right[:, 6:] -= (state.coefficients - expected) @ precision
    # What is at its bound and pushes outwards takes no part in the joint step.
    held = (state.coefficients <= 0) & (right[:, 6:] < 0)
    local = np.where(np.pad(held, ((0, 0), (6, 0)))[:, None, None, :], 0, local)

    weighted = weight * local
    mixed = _product(weighted, by_identity)
    if offset_sigmas is not None:
        to_offsets = (weighted.transpose(0, 1, 3, 2) @ by_point).transpose(0, 2, 1, 3)  # [F, 6 + E, P, 3]
        mixed = np.concatenate([mixed, to_offsets.reshape(num_frames, -1, 3 * num_landmarks)], axis=2)
    shared, shared_right = _shared_equations(
        shapes, state, weight, by_identity, by_point, residual, offset_sigmas
    )
    solved = np.linalg.solve(_without(system, held), mixed)
    size = mixed.shape[2]
    shared, shared_right = shared[:size, :size], shared_right[:size]
    # Single precision: most of the time goes here, and a step need not be exact.
    flat = [values.reshape(-1, size).astype(np.float32) for values in (mixed, solved)]
    shared -= flat[0].T @ flat[1]
    shared_right -= np.einsum("fjs,fj->s", solved, np.where(np.pad(held, ((0, 0), (6, 0))), 0, right))
    change = np.linalg.solve(shared, shared_right)
    change *= min(1.0, _LONGEST_STEP / (np.abs(change[:num_identity]).max() + 1e-9))
    motion = bounded_step(system, right - mixed @ change, state.coefficients)
    moved = _State(
        state.identity + change[:num_identity],
        state.offsets + change[num_identity:].reshape(-1, 3) if offset_sigmas is not None else state.offsets,
        state.poses.moved(motion[:, :3], motion[:, 3:6]),
        tidy_gaze(np.clip(state.coefficients + motion[:, 6:], 0, 1), head),
    )
    return moved, sigmas


def _shared_equations(shapes, state, weight, by_identity, by_point, residual, offset_sigmas):
    """Normal equations of identity and offsets, their priors included."""
    num_identity, num_landmarks = len(shapes.identity), by_point.shape[1]
    size = num_identity + 3 * num_landmarks
    system, right = np.zeros((size, size)), np.zeros(size)
    one, rest = slice(num_identity), slice(num_identity, None)
    flat = by_identity.reshape(-1, num_identity)
    system[one, one] = (weight * by_identity).reshape(-1, num_identity).T @ flat
    by_landmark = by_point.transpose(1, 0, 2, 3).reshape(num_landmarks, -1, 3)  # [P, 2F, 3]
    weighted = (weight * by_point).transpose(1, 0, 2, 3).reshape(num_landmarks, -1, 3)
    identity_rows = by_identity.transpose(1, 0, 2, 3).reshape(num_landmarks, -1, num_identity)
    mixed = (identity_rows.transpose(0, 2, 1) @ weighted).transpose(1, 0, 2).reshape(num_identity, -1)
    system[one, rest], system[rest, one] = mixed, mixed.T
    blocks = weighted.transpose(0, 2, 1) @ by_landmark  # [P, 3, 3]
    for landmark, block in enumerate(blocks):
        at = slice(num_identity + 3 * landmark, num_identity + 3 * landmark + 3)
        system[at, at] = block
    right[one] = ((weight * by_identity).reshape(-1, num_identity) * residual.reshape(-1, 1)).sum(axis=0)
    right[rest] = np.einsum("fpij,fpi->pj", weight * by_point, residual).ravel()
    diagonal = np.diag_indices(size)
    kept = np.ones(num_landmarks) if offset_sigmas is None else offset_sigmas**-2.0
    stiffness = np.concatenate([np.ones(num_identity), np.repeat(kept, 3)])
    system[diagonal] += stiffness
    right -= stiffness * np.concatenate([state.identity, state.offsets.ravel()])
    # The distance between the pupils.
    slope = np.zeros(size)
    slope[one] = shapes.identity[:, _LEFT_PUPIL, 0] - shapes.identity[:, _RIGHT_PUPIL, 0]
    slope[num_identity + 3 * _LEFT_PUPIL], slope[num_identity + 3 * _RIGHT_PUPIL] = 1, -1
    neutral = shapes.mean.neutral
    apart = neutral[_LEFT_PUPIL, 0] - neutral[_RIGHT_PUPIL, 0]
    apart += slope @ np.concatenate([state.identity, state.offsets.ravel()])
    system += np.outer(slope, slope) / _PUPILS_SIGMA**2
    right += slope * (PUPILS - apart) / _PUPILS_SIGMA**2
    return system, right


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sum over landmarks and pixel axes of [F, P, 2, A] and [F, P, 2, B]. [F, A, B]"""
    num_frames = len(first)
    flat = [values.reshape(num_frames, -1, values.shape[-1]) for values in (first, second)]
    return flat[0].transpose(0, 2, 1) @ flat[1]


def _without(system: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The system [F, 6 + E, 6 + E] with held coefficients [F, E] cut out."""
    cut = np.pad(held, ((0, 0), (6, 0)))
    reduced = np.where(cut[:, :, None] | cut[:, None, :], 0, system)
    diagonal = np.arange(system.shape[1])
    reduced[:, diagonal, diagonal] = reduced[:, diagonal, diagonal] * (1 + 1e-4) + cut
    return reduced
