"""The head model drawn over a frame: where, in which colours, and which frames."""

import numpy as np
import pytest

from parametric_head.mesh import vertex_normals
from parametric_head.person import Person
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, exp_so3
from preparation.report import overlay as overlay_module
from preparation.report.overlay import draw_overlay, overlay_frames
from tests.parametric_head.small_head import small_head, small_landmarks

CAMERA = Camera(1000.0, np.array([128.0, 128.0]))
FACING = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def mesh():
    head = small_head()
    zeros = np.zeros((478, 3))
    person = Person(np.zeros(len(head.identity)), zeros, small_landmarks(head), 0.029, np.eye(3), np.zeros(3))
    return person.mesh(head)


def overlay(mesh, coefficients=None, grey=128):
    frame = np.full((256, 256, 3), grey, np.uint8)
    coefficients = np.zeros(len(mesh.head.names)) if coefficients is None else coefficients
    vertices = mesh.vertices(coefficients) @ FACING + [0, 0, 3]
    return draw_overlay(frame, vertices, mesh.head, CAMERA)


def is_blue(picture):
    """Irises are the only deep blue."""
    red, _, blue = np.moveaxis(picture.astype(int), -1, 0)
    return blue - red > 90


def test_only_the_head_is_painted(mesh):
    drawn = overlay(mesh)
    assert drawn.shape == (256, 256, 3)
    assert drawn.dtype == np.uint8
    assert (drawn[:5] == 128).all()
    assert (drawn[128, 128] != 128).any()


def test_shoulders_are_left_out(mesh, monkeypatch):
    everything = (overlay(mesh) != 128).any(axis=-1)
    monkeypatch.setattr(overlay_module, "NECK_END", 0.0)
    upper = (overlay(mesh) != 128).any(axis=-1)
    # Upright, and its origin in the middle of the picture.
    assert upper[:120].sum() == everything[:120].sum()
    assert everything[140:].any() and not upper[140:].any()


def test_the_frame_shines_through(mesh):
    dark, bright = overlay(mesh, grey=0), overlay(mesh, grey=255)
    # The cheek: some of both.
    difference = bright[150, 110].astype(int) - dark[150, 110]
    assert ((difference > 60) & (difference < 230)).all()


@pytest.mark.parametrize(
    ("look", "sign"), [(("eyeLookOutLeft", "eyeLookInRight"), 1), (("eyeLookInLeft", "eyeLookOutRight"), -1)]
)
def test_irises_follow_the_gaze(mesh, look, sign):
    coefficients = np.zeros(len(mesh.head.names))
    coefficients[[mesh.head.columns[name] for name in look]] = 0.6
    ahead, aside = (np.nonzero(is_blue(overlay(mesh, used)))[1] for used in (None, coefficients))
    assert len(ahead) > 20
    assert sign * (aside.mean() - ahead.mean()) > 1


def test_normals_of_a_ball_point_outwards(mesh):
    # Half of it: the small head's eyeball is a ball about its own centre.
    part = mesh.head.part("eyeball_left")
    start, stop = mesh.head.sclera_iris_ranges[0]
    points = mesh.neutral[start:stop]
    normals = vertex_normals(mesh.neutral, mesh.head.triangles)[start:stop]
    outwards = points - mesh.neutral[part].mean(axis=0)
    cosine = (normals * outwards).sum(axis=1) / np.linalg.norm(outwards, axis=1)
    assert abs(cosine).min() > 0.8


def test_frames_are_the_extremes():
    vectors = np.deg2rad([[0, 0, 0], [0, 25, 0], [0, -30, 0], [-15, 0, 0], [12, 0, 0], [0, 1, 0]])
    poses = Poses(FACING @ exp_so3(vectors), np.tile([0.0, 0.0, 3.0], (6, 1)))
    assert overlay_frames(poses, np.array([0, 0, 0, 0, 0, 1.0])) == {
        "front": 0,
        "most to the left": 2,
        "most to the right": 1,
        "most upwards": 3,
        "most downwards": 4,
        "mouth most open": 5,
    }


def test_a_frame_is_shown_once():
    vectors = np.deg2rad([[0, 0, 0], [-20, 25, 0]])
    poses = Poses(FACING @ exp_so3(vectors), np.tile([0.0, 0.0, 3.0], (2, 1)))
    rows = overlay_frames(poses, np.array([0.0, 1.0]))
    assert sorted(rows.values()) == [0, 1]
