import json

import numpy as np
import pytest

from parametric_head.packing import Layout, pack, pack_shape, read_licence, read_mesh
from tests.parametric_head.obj_files import LICENCE, obj_text, published_files, small_layout
from tests.parametric_head.real_head import real_file
from tests.parametric_head.small_head import small_arrays

# Vertices 0 to 4 are kept, 5 is not.
LAYOUT = Layout({"face": (0, 4), "head_neck": (4, 5)}, (), (0, 0), (0, 0))
KITE = np.array([[0, 0, 0], [3, 1, 0], [6, 0, 0], [3, -1, 0], [9, 0, 0], [0, 9, 0]], float)
INDICES = {"expressions": ["jawOpen"], "idx_to_landmark_verts": [0]}


def packed(faces: list[list[int]], names: list[str] = INDICES["expressions"]) -> dict[str, np.ndarray]:
    mesh = read_mesh(obj_text(KITE, KITE[:, :2] / 10, faces))
    shape = np.zeros((5, 3), np.float16)
    return pack(mesh, INDICES | {"expressions": names}, [shape], dict.fromkeys(names, shape), LAYOUT)


def test_quads_are_split_along_the_shorter_diagonal_whichever_corner_is_first():
    assert packed([[0, 1, 2, 3]])["triangles"].tolist() == [[0, 1, 3], [1, 2, 3]]
    assert packed([[1, 2, 3, 0]])["triangles"].tolist() == [[1, 2, 3], [1, 3, 0]]


def test_triangles_keep_the_order_of_their_faces():
    arrays = packed([[0, 1, 3], [0, 1, 2, 3], [1, 2, 3]])
    assert arrays["triangles"].tolist() == [[0, 1, 3], [0, 1, 3], [1, 2, 3], [1, 2, 3]]
    assert np.array_equal(arrays["triangle_uv"], arrays["triangles"])


def test_triangles_of_vertices_that_are_left_out_go_and_seams_belong_to_the_later_part():
    arrays = packed([[0, 1, 3], [1, 4, 2], [0, 1, 5]])
    assert arrays["triangles"].tolist() == [[0, 1, 3], [1, 4, 2]]
    assert arrays["triangle_part"].tolist() == [0, 1]
    assert len(arrays["neutral"]) == 5 and len(arrays["uv"]) == 5


def test_halves_of_an_arkit_coefficient_are_driven_together():
    arrays = packed([[0, 1, 2]], ["browInnerUp_L", "browInnerUp_R", "eyeBlink_L", "eyeBlink_R", "jawLeft"])
    names = ["_neutral", "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight", "jawLeft"]
    assert arrays["arkit_names"].tolist() == names
    driven = [np.flatnonzero(row).tolist() for row in arrays["arkit_to_ict"]]
    assert driven == [[], [0, 1], [2], [3], [4]]


def test_a_shape_is_its_difference_from_the_neutral_mesh():
    moved = KITE + np.arange(18).reshape(6, 3) / 8
    shape = pack_shape(obj_text(moved, KITE[:, :2], []), KITE, LAYOUT)
    # Eighths are exact in float16.
    assert shape.dtype == np.float16 and np.array_equal(shape, np.arange(15).reshape(5, 3) / 8)


def test_a_shape_of_another_mesh_is_refused():
    with pytest.raises(ValueError, match="5 vertices, expected the neutral mesh's 6"):
        pack_shape(obj_text(KITE[:5], KITE[:, :2], []), KITE, LAYOUT)


def test_the_licence_is_read_from_the_head_of_a_file():
    assert read_licence(LICENCE.encode() + b"# later\nv 0 0 0\n") == "ICT\nAnyone may use it.\n"


def test_packing_what_is_published_gives_the_arrays_it_was_made_of():
    files, layout, truth = published_files(), small_layout(), small_arrays()
    neutral = read_mesh(files.pop("generic_neutral_mesh.obj"))
    indices = json.loads(files.pop("vertex_indices.json"))
    shapes = {
        name.removesuffix(".obj"): pack_shape(content, neutral.vertices, layout)
        for name, content in files.items()
    }
    identity = [shapes[f"identity{index:03}"] for index in range(3)]
    arrays = pack(neutral, indices, identity, shapes, layout)
    exact = set(truth) - {"identity", "expression", "expression_names", "uv", "neutral"}
    for name in exact:
        assert np.array_equal(arrays[name], truth[name]), name
    # Written with nine digits: a float16 of at most 4 may round to its neighbour, 0.002 away.
    for name, expected in (("identity", truth["identity"][:3]), ("expression", truth["expression"])):
        assert arrays[name].dtype == np.float16
        np.testing.assert_allclose(arrays[name].astype(float), expected.astype(float), atol=2e-3)
    np.testing.assert_allclose(arrays["neutral"], truth["neutral"], rtol=1e-6)


def test_the_published_originals_pack_into_the_same_bits():
    originals = real_file("ict_originals")
    with np.load(real_file("ict_head.npz")) as stored:
        truth = dict(stored)

    def content(name: str) -> bytes:
        return (originals / name).read_bytes()

    neutral = read_mesh(content("generic_neutral_mesh.obj"))
    names = truth["expression_names"].tolist()
    expression = dict(zip(names, truth["expression"]))
    for name in ("jawOpen", "mouthSmile_L"):
        expression[name] = pack_shape(content(f"{name}.obj"), neutral.vertices)
    identity = [pack_shape(content("identity000.obj"), neutral.vertices), *truth["identity"][1:]]
    arrays = pack(neutral, json.loads(content("vertex_indices.json")), identity, expression)
    for name, array in arrays.items():
        assert array.dtype == truth[name].dtype and array.tobytes() == truth[name].tobytes(), name
