"""A clip of the small head as the report finds it: a record with what the report reads, and its files."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from parametric_head.drawing import draw_mesh
from parametric_head.person import Person
from preparation.data_set.layout import Layout
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, exp_so3, project
from tests.parametric_head.small_head import small_head, small_landmarks

CAMERA = Camera(500.0, np.array([64.0, 64.0]))
SIZE = 128
NUM_FRAMES = 20


def tracked_clip(folder: Path, degrees: float = 30.0) -> SimpleNamespace:
    """Make one that is tracked perfectly, with scores that are noise. degrees: of its turn to either side."""
    head = small_head()
    zeros = np.zeros((478, 3))
    person = Person(np.zeros(len(head.identity)), zeros, small_landmarks(head), 0.029, np.eye(3), np.zeros(3))
    mesh = person.mesh(head)
    rng = np.random.default_rng(0)
    coefficients = 0.4 * rng.uniform(size=(NUM_FRAMES, len(head.names)))
    turns = np.deg2rad(degrees) * np.linspace(-1, 1, NUM_FRAMES)
    rotations = np.diag([1.0, -1, -1]) @ exp_so3(np.column_stack([0.2 * turns, turns, 0 * turns]))
    poses = Poses(rotations, np.tile([0.0, 0, 3], (NUM_FRAMES, 1)))
    points = np.stack([mesh.landmarks(row) for row in coefficients])
    rest = mesh.landmarks(np.median(coefficients, axis=0))

    def vertices(row: int) -> np.ndarray:
        return poses.select([row]).apply(mesh.vertices(coefficients[row]))[0]

    layout = Layout(folder)
    for row in range(NUM_FRAMES):
        drawn = draw_mesh(vertices(row), head.triangles, CAMERA.focal, CAMERA.center, (SIZE, SIZE))
        matte = np.where(drawn.triangle >= 0, 255, 0).astype(np.uint8)
        for path, picture in (
            (layout.image(row), np.full((SIZE, SIZE, 3), 90, np.uint8)),
            (layout.mask(row), matte),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)
    fit = SimpleNamespace(landmark_poses=poses, poses=poses, coefficients=coefficients)
    return SimpleNamespace(
        layout=layout,
        image_ids=np.arange(NUM_FRAMES),
        image_times=np.arange(NUM_FRAMES) / 10,
        image_landmarks=project(poses.apply(points), CAMERA.focal, CAMERA.center),
        head=SimpleNamespace(landmarks=rest, poses=poses, camera=CAMERA),
        head_fit=SimpleNamespace(head=head, mesh=mesh, fit=fit, landmarks=rest),
        coefficients=coefficients,
        named_scores=rng.uniform(size=coefficients.shape),
        refinement=SimpleNamespace(is_rejected=np.arange(NUM_FRAMES) == 3, flow=np.zeros(NUM_FRAMES)),
        smoothed=SimpleNamespace(poses=poses),
        is_solved=True,
        vertices=vertices,
    )
