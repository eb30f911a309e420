import struct
import time
import zipfile

import numpy as np
import pytest

from parametric_head.landmarks import (
    IBUG_TO_MEDIAPIPE,
    IRIS_RADIUS,
    LOWER_LIDS,
    LOWER_LIP,
    NUM_CANONICAL,
    NUM_LANDMARKS,
    UPPER_LIDS,
    UPPER_LIP,
    landmark_places,
    read_canonical_face,
    register,
)
from parametric_head.model import load_head
from tests.parametric_head.real_head import real_file
from tests.parametric_head.small_head import real_face, small_head, small_landmarks
from utils.errors import UserError

RIGHT_IRIS, LEFT_IRIS = range(468, 473), range(473, 478)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return small_landmarks(small_head()).of(small_head().neutral)


def varint(number: int) -> bytes:
    content = b""
    while number > 127:
        content, number = content + bytes([number & 127 | 128]), number >> 7
    return content + bytes([number])


def write_bundle(path, vertices: np.ndarray, triangles: np.ndarray) -> None:
    """A model file with a canonical face, its fields as MediaPipe writes them."""
    mesh = b"\x08\x00\x10\x00" + b"".join(b"\x1d" + struct.pack("<f", value) for value in vertices.ravel())
    mesh += b"".join(b"\x20" + varint(int(index)) for index in triangles.ravel())
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr(
            "geometry_pipeline_metadata_landmarks.binarypb", b"\x0a" + varint(len(mesh)) + mesh + b"\x18\x01"
        )


def test_places_are_inside_triangles_of_the_mesh():
    head, places = small_head(), small_landmarks(small_head())
    assert places.vertices.shape == places.barycentric.shape == (NUM_LANDMARKS, 3)
    assert places.vertices.dtype == np.int32 and places.barycentric.dtype == np.float32
    assert places.barycentric.min() >= 0
    np.testing.assert_allclose(places.barycentric.sum(1), 1, atol=1e-5)
    triangles = {tuple(triangle) for triangle in np.sort(head.triangles, axis=1).tolist()}
    assert all(tuple(corners) in triangles for corners in np.sort(places.vertices, axis=1).tolist())


def test_shared_landmarks_lie_on_their_vertices(points):
    head = small_head()
    for ibug, mediapipe in IBUG_TO_MEDIAPIPE.items():
        # 1 mm: a smooth warp keeps its anchors up to its smoothing.
        assert np.linalg.norm(points[mediapipe] - head.neutral[head.landmarks68[ibug]]) < 0.1


def test_lips_and_lids_are_on_their_own_side():
    head, places = small_head(), small_landmarks(small_head())
    jaw = -places.of(head.expression[head.columns["jawOpen"]])[:, 1]
    assert jaw[list(UPPER_LIP)].max() < 0.1 and jaw[list(LOWER_LIP)].min() > 0.5
    blink = head.expression[head.columns["eyeBlinkLeft"]] + head.expression[head.columns["eyeBlinkRight"]]
    down = -places.of(blink)[:, 1]
    assert down[list(UPPER_LIDS)].min() > down[list(LOWER_LIDS)].max()


def test_places_are_symmetric(points):
    # A landmark's other half is the one nearest to its mirror image; the small mesh is not quite symmetric.
    mirrored = points[:NUM_CANONICAL] * [-1, 1, 1]
    distances = np.linalg.norm(mirrored[:, None] - points[None, :NUM_CANONICAL], axis=2).min(1)
    assert np.median(distances) < 0.1


def test_irises_are_rings_on_the_eyeballs(points):
    head = small_head()
    places = small_landmarks(head)
    for part, ring in (("eyeball_right", RIGHT_IRIS), ("eyeball_left", LEFT_IRIS)):
        vertices, (centre, right, top, left, bottom) = places.vertices[ring], points[ring]
        assert ((vertices >= head.part(part).start) & (vertices < head.part(part).stop)).all()
        around = np.array([right, top, left, bottom]) - centre
        np.testing.assert_allclose(
            around[:, :2], IRIS_RADIUS * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]]), atol=1e-3
        )
        assert (around[:, 2] < 0).all()
    assert points[468, 0] < 0 < points[473, 0]


def test_the_same_face_gives_the_same_places():
    head = small_head()
    again = register(head, real_face())
    assert all(np.array_equal(*pair) for pair in zip(again, small_landmarks(head)))


def test_landmarks_of_many_meshes_are_those_of_each(points):
    head, places = small_head(), small_landmarks(small_head())
    meshes = head.neutral + head.expression[:3]
    assert np.allclose(places.of(meshes), [places.of(mesh) for mesh in meshes])


def test_the_canonical_face_is_read_from_a_model_file(tmp_path):
    vertices = np.random.default_rng(0).normal(size=(NUM_CANONICAL, 5)).astype(np.float32)
    triangles = np.random.default_rng(1).permuted(np.tile(np.arange(NUM_CANONICAL), (3, 1)), axis=1).T
    write_bundle(tmp_path / "face.task", vertices, triangles)
    face = read_canonical_face(tmp_path / "face.task")
    assert np.array_equal(face.points, vertices[:, :3].astype(np.float64))
    np.testing.assert_allclose(np.linalg.norm(face.normals, axis=1), 1)


@pytest.mark.parametrize("content", [b"", b"PK not a zip file"])
def test_a_file_without_canonical_face_is_refused(tmp_path, content):
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"face_landmarker.task: no canonical face in it"):
        landmark_places(small_head(), path)


def test_a_truncated_message_is_refused(tmp_path):
    path = tmp_path / "face.task"
    write_bundle(path, np.zeros((3, 5)), np.arange(3))
    with pytest.raises(UserError, match="no canonical face in it"):
        read_canonical_face(path)


def test_real_places_agree_with_two_other_routes():
    head = load_head(real_file("ict_head.npz"))
    with np.load(real_file("mediapipe_to_ict.npz")) as stored:
        truth = np.einsum("lkc,lk->lc", head.neutral[stored["vertices"].astype(int)], stored["barycentric"])
        mirror = stored["mirror"]
    start = time.perf_counter()
    points = landmark_places(head, real_file("face_landmarker.task")).of(head.neutral)
    assert time.perf_counter() - start < 3
    distances = 10 * np.linalg.norm(points - truth, axis=1)  # mm
    # The two routes behind the truth differ by 1.5 mm in the median, 12 mm at most, from each other.
    assert np.median(distances) < 2 and distances.max() < 7
    assert np.median(distances[[*UPPER_LIDS, *LOWER_LIDS]]) < 1
    assert np.median(distances[[*UPPER_LIP, *LOWER_LIP]]) < 1.2
    assert distances[468:].max() < 2.5
    np.testing.assert_allclose(points[:468], points[mirror] * [-1, 1, 1], atol=0.01)
