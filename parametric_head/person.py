"""A person: identity weights, what these leave out, place and unit; and the mesh at any expression.

A person's numbers are a few kilobytes of our own. With the head model's file at hand they give the mesh in
the head frame of a data set, with eyeballs that turn and lids that close.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from parametric_head.landmarks import MIDDLE_OF_LIDS, NUM_LANDMARKS, LandmarkPlaces
from parametric_head.model import ParametricHead
from parametric_head.surface import spread
from utils.so3 import exp_so3

SIDES = ("Left", "Right")
# Radians that an eyeball turns at a coefficient of 1, along and across.
GAZE_ACROSS, GAZE_ALONG = np.deg2rad(35.0), np.deg2rad(30.0)
# No lid is pulled farther than so many times its shape.
_MOST_LID_GAIN = 1.6


@dataclass(frozen=True, eq=False)
class Person:
    """Who it is, and where: numbers that only mean something together with the head model.

    Vertices of the model, moved by `offsets` at the landmarks, are taken to
    scale * (rotation @ vertex) + translation in the head frame.
    """

    identity: np.ndarray  # [K] standard deviations
    # Of MediaPipe's 478 landmarks from where the identity has them, then of M places of the skin beside.
    offsets: np.ndarray  # [478 + M, 3] cm
    places: LandmarkPlaces
    # Head units per centimetre.
    scale: float
    rotation: np.ndarray  # [3, 3]
    translation: np.ndarray  # [3] head units

    def to_json(self) -> dict[str, Any]:
        """What head.json says of a person."""
        return {
            "identity": _rounded(self.identity, 5),
            "similarity": {
                "scale": float(self.scale),
                "rotation": _rounded(self.rotation, 8),
                "translation": _rounded(self.translation, 7),
            },
            "landmarks": {
                "vertices": self.places.vertices.tolist(),
                "barycentric": _rounded(self.places.barycentric, 6),
                "offsets": _rounded(self.offsets, 5),
            },
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Person":
        """Invert `to_json`. Raises KeyError, TypeError or ValueError where it is something else."""
        landmarks, similarity = values["landmarks"], values["similarity"]
        places = LandmarkPlaces(
            np.array(landmarks["vertices"], np.int32), np.array(landmarks["barycentric"], np.float32)
        )
        return Person(
            np.array(values["identity"], np.float64),
            np.array(landmarks["offsets"], np.float64).reshape(-1, 3),
            places,
            float(similarity["scale"]),
            np.array(similarity["rotation"], np.float64).reshape(3, 3),
            np.array(similarity["translation"], np.float64).reshape(3),
        )

    def mesh(self, head: ParametricHead) -> "PersonMesh":
        """The person's mesh in head units."""
        identity = np.tensordot(self.identity, head.identity, 1)
        neutral = head.neutral + identity + spread(head, self.places, self.offsets)
        turn = self.scale * self.rotation
        gains = lid_gains(head, self.places.of(neutral), self.places)
        shapes = head.expression * gains[:, None, None].astype(np.float32)
        return PersonMesh(
            head, self.places, neutral @ turn.T + self.translation, (shapes @ turn.T).astype(np.float32)
        )


@dataclass(frozen=True, eq=False)
class PersonMesh:
    """The mesh of a person in the head frame, at any expression."""

    head: ParametricHead
    places: LandmarkPlaces
    neutral: np.ndarray  # [V, 3] head units
    shapes: np.ndarray  # [E, V, 3] float32 head units

    @cached_property
    def eye_centers(self) -> np.ndarray:
        """The points about which the eyeballs turn: left, right. [2, 3]"""
        return eye_centers(self.head, self.neutral)

    def vertices(self, coefficients: np.ndarray) -> np.ndarray:  # [E] -> [V, 3]
        """Deform the mesh by coefficients under the model's names, eyeballs turned by the gaze."""
        points = self.neutral + np.tensordot(np.asarray(coefficients, np.float32), self.shapes, 1)
        for side, name in enumerate(EYEBALLS):
            part = self.head.part(name)
            turn = exp_so3(gaze_angles(self.head, coefficients, side))
            center = self.eye_centers[side]
            points[part] = (self.neutral[part] - center) @ turn.T + center
        return points

    def landmarks(self, coefficients: np.ndarray) -> np.ndarray:  # [E] -> [478, 3]
        """MediaPipe's landmarks, irises included."""
        return self.places.of(self.vertices(coefficients))[:NUM_LANDMARKS]


EYEBALLS = ("eyeball_left", "eyeball_right")


def eye_centers(head: ParametricHead, mesh: np.ndarray) -> np.ndarray:  # [..., V, 3] -> [..., 2, 3]
    """The middles of the eyeballs of a mesh, or of displacements: left, right."""
    return np.stack([mesh[..., head.part(name), :].mean(axis=-2) for name in EYEBALLS], axis=-2)


def gaze_columns(head: ParametricHead, side: int) -> np.ndarray:
    """Columns of eyeLookOut, In, Up, Down of an eye. [4]"""
    return np.array([head.columns[f"eyeLook{where}{SIDES[side]}"] for where in ("Out", "In", "Up", "Down")])


def gaze_axes(side: int) -> np.ndarray:
    """Rotation vectors [4, 3] of an eyeball at a coefficient of 1 of eyeLookOut, In, Up, Down."""
    # Out is +x for the left eye: a turn about +y takes the gaze, +z, to +x.
    out = GAZE_ACROSS * (1 if side == 0 else -1)
    return np.array([[0, out, 0], [0, -out, 0], [-GAZE_ALONG, 0, 0], [GAZE_ALONG, 0, 0]])


def gaze_angles(head: ParametricHead, coefficients: np.ndarray, side: int) -> np.ndarray:
    """Rotation vectors [..., 3] of an eyeball, of coefficients [..., E]."""
    return coefficients[..., gaze_columns(head, side)] @ gaze_axes(side)


def lid_gains(head: ParametricHead, landmarks: np.ndarray, places: LandmarkPlaces) -> np.ndarray:  # [E]
    """How far each shape must be scaled so that eyeBlink at 1 closes this person's lids; 1 for the others.

    landmarks: [478, 3] of the person at rest, cm.
    """
    gains = np.ones(len(head.names))
    for side, (upper, lower) in zip(SIDES, MIDDLE_OF_LIDS, strict=True):
        column = head.columns[f"eyeBlink{side}"]
        moved = places.of(head.expression[column])
        gap = landmarks[upper, 1] - landmarks[lower, 1]
        closed = moved[lower, 1] - moved[upper, 1]
        if closed > 0 and gap > 0:
            gains[column] = np.clip(gap / closed, 1, _MOST_LID_GAIN)
    return gains


def _rounded(values: np.ndarray, digits: int) -> list:
    return np.round(np.asarray(values, np.float64), digits).tolist()
