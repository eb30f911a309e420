"""A person of the small head model who turns and speaks: what a detector sees of it, with the truth.

Landmarks are projected points of the mesh; pictures are drawn of it, with freckles to hold on to.
"""

import functools
from typing import NamedTuple

import numpy as np

from parametric_head.drawing import draw_mesh, interpolate
from parametric_head.model import ParametricHead
from parametric_head.person import Person, PersonMesh, gaze_angles
from preparation.geometry.camera import Camera
from preparation.geometry.head_frame import to_head_frame
from preparation.geometry.rigid import Poses, exp_so3, project
from tests.parametric_head.small_head import small_head, small_landmarks

# From the head's axes (y up, z out of the face) to the camera's.
FACING = np.diag([1.0, -1.0, -1.0])
DISTANCE = 3.0
# What moves, each by a wave of its own; both sides of a face do much the same.
LIVELY = ("jawOpen", "eyeBlink", "mouthSmile", "browInnerUp", "browDown", "mouthPucker")
BACKGROUND = (60, 90, 70)


class TalkingHead(NamedTuple):
    """F frames of a person, and the truth about them."""

    person: Person
    mesh: PersonMesh
    poses: Poses
    coefficients: np.ndarray  # [F, E]
    camera: Camera

    @property
    def head(self) -> ParametricHead:
        return self.mesh.head

    @property
    def points(self) -> np.ndarray:  # [F, 478, 3] camera
        return self.poses.apply(np.stack([self.mesh.landmarks(row) for row in self.coefficients]))

    def select(self, rows: np.ndarray | slice) -> "TalkingHead":
        return self._replace(poses=self.poses.select(rows), coefficients=self.coefficients[rows])


def make_person(weights: np.ndarray, head: ParametricHead | None = None) -> Person:
    """A person of identity weights [K], in the head frame, that has no offsets."""
    head = head or small_head()
    places = small_landmarks(head)
    change = to_head_frame(places.of(head.neutral + np.tensordot(weights, head.identity, 1)).astype(float))
    offsets = np.zeros((478, 3))
    return Person(weights, offsets, places, float(change.scale), change.rotation, change.translation)


def talking_head(
    num_frames: int,
    degrees: float = 25.0,
    weights: np.ndarray | None = None,
    size: int = 512,
    seed: int = 0,
) -> TalkingHead:
    """Turn by +-degrees (nod by 0.7 of it) and speak. weights: of the identity, 0.8 N(0, 1) if None."""
    rng = np.random.default_rng(seed)
    head = small_head()
    weights = 0.8 * rng.normal(size=len(head.identity)) if weights is None else weights
    person = make_person(weights)
    time = np.linspace(0, 1, num_frames)
    turn = np.deg2rad(degrees) * np.stack(
        [0.7 * np.sin(11 * time + 1), np.sin(7 * time), 0.3 * np.sin(5 * time + 2)], axis=1
    )
    shift = 0.05 * np.sin(np.stack([4 * time, 6 * time + 1, 3 * time + 2], axis=1))
    poses = Poses(FACING @ exp_so3(turn), np.array([0.0, 0.0, DISTANCE]) + shift)
    camera = Camera(3.2 * size, np.array([0.5 * size, 0.49 * size]))
    return TalkingHead(person, person.mesh(head), poses, expressions(head, time), camera)


def expressions(head: ParametricHead, time: np.ndarray) -> np.ndarray:  # [F] -> [F, E]
    """Waves of what is lively, each at rest for a while, a gaze that wanders; all else is still."""
    values = np.zeros((len(time), len(head.names)))
    for number, name in enumerate(LIVELY):
        wave = np.clip(1.3 * np.sin((9 + 3.7 * number) * time + 2 * number) - 0.3, 0, 1)
        amount = {"eyeBlink": 1.0, "jawOpen": 0.7, "mouthPucker": 0.5}.get(name, 0.6)
        for column in columns(head, name):
            values[:, column] = amount * wave
    across, along = 0.5 * np.sin(13 * time), 0.3 * np.sin(17 * time + 1)
    for side, out in (("Left", across), ("Right", -across)):
        for name, amount in (("Out", out), ("In", -out), ("Up", along), ("Down", -along)):
            values[:, head.columns[f"eyeLook{name}{side}"]] = np.clip(amount, 0, 1)
    return values


def columns(head: ParametricHead, name: str) -> list[int]:
    """The column of a shape, or those of its two sides."""
    found = [head.columns[side] for side in (name, name + "Left", name + "Right") if side in head.columns]
    assert found, name
    return found


def observe(
    truth: TalkingHead, noise: float = 0.0, outliers: float = 0.0, seed: int = 0
) -> np.ndarray:  # [F, 478, 3]
    """Landmarks as a detector gives them: z relative, less sure. outliers: a share, off by 15 pixels."""
    rng = np.random.default_rng(seed)
    points = truth.points
    pixels = project(points, truth.camera.focal, truth.camera.center)
    distance = truth.poses.translations[:, None, 2:]
    depth = (points[..., 2:] - distance) * truth.camera.focal / distance
    landmarks = np.concatenate([pixels, depth], axis=-1)
    landmarks += noise * rng.normal(size=landmarks.shape) * [1, 1, 3]
    is_wild = rng.uniform(size=landmarks.shape[:2]) < outliers
    angle = rng.uniform(0, 2 * np.pi, int(is_wild.sum()))
    landmarks[is_wild, :2] += 15 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return landmarks


def gaze_of(head: ParametricHead, coefficients: np.ndarray) -> np.ndarray:  # [F, 2, 3]
    """Rotation vectors of both eyeballs, radians."""
    return np.stack([gaze_angles(head, coefficients, side) for side in (0, 1)], axis=1)


def draw(truth: TalkingHead, row: int, size: int) -> np.ndarray:  # [H, W, 3] uint8
    """The picture of a frame: freckled skin, eyes and teeth before a plain background."""
    mesh, colors, triangles = truth.mesh, *_painted(truth.head)
    points = truth.poses.select([row]).apply(mesh.vertices(truth.coefficients[row]))[0]
    drawn = draw_mesh(points, mesh.head.triangles, truth.camera.focal, truth.camera.center, (size, size))
    places = interpolate(drawn, triangles, colors)
    image = np.where((drawn.triangle >= 0)[..., None], _freckles(places), np.float32(BACKGROUND))
    return image.clip(0, 255).astype(np.uint8)


def _painted(head: ParametricHead) -> tuple[np.ndarray, np.ndarray]:
    """What freckles are a function of: a vertex's place on the mean head, cm."""
    return head.neutral, head.triangles


def _freckles(places: np.ndarray) -> np.ndarray:  # [H, W, 3] cm -> [H, W, 3]
    """Smooth waves in space, of 0.5 to 2 cm."""
    directions, phases = _waves()
    value = np.cos(places @ directions.T + phases).sum(axis=-1) / np.sqrt(len(phases))
    return (130 + 55 * value[..., None]) * [1.0, 0.8, 0.65]


@functools.cache
def _waves() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(24, 3))
    directions *= (2 * np.pi / rng.uniform(0.7, 2.2, 24) / np.linalg.norm(directions, axis=1))[:, None]
    return directions.astype(np.float32), rng.uniform(0, 2 * np.pi, 24).astype(np.float32)
