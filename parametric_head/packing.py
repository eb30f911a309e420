"""From ICT-FaceKit's published files to the packed arrays of `model.ARRAYS`.

A published mesh is an OBJ file; every shape has the vertices of the neutral mesh in the same order. Kept are
the vertices of the layout; the lacrimal fluid, eye blend, eye occlusion and lashes behind them are left out.
Quads are split along their shorter diagonal, and shapes become differences from the neutral mesh, as float16
(rounded by at most 0.01 mm).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# ARKit has one coefficient where ICT-FaceKit has a left and a right half.
_JOINED = ("browInnerUp", "cheekPuff")


@dataclass(frozen=True)
class Layout:
    """Which vertices are what: (from, to) each."""

    parts: dict[str, tuple[int, int]]
    sclera_iris: tuple[tuple[int, int], ...]
    upper_teeth: tuple[int, int]
    lower_teeth: tuple[int, int]

    @property
    def num_vertices(self) -> int:
        return max(stop for _, stop in self.parts.values())


ICT_LIGHT = Layout(
    parts={
        "face": (0, 9409),
        "head_neck": (9409, 11248),
        "mouth_socket": (11248, 13294),
        "eye_socket_left": (13294, 13678),
        "eye_socket_right": (13678, 14062),
        "gums_tongue": (14062, 17039),
        "teeth": (17039, 21451),
        "eyeball_left": (21451, 23021),
        "eyeball_right": (23021, 24591),
    },
    sclera_iris=((21451, 22221), (22221, 23021), (23021, 23791), (23791, 24591)),
    upper_teeth=(17039, 19247),
    lower_teeth=(19247, 21451),
)


class ObjMesh(NamedTuple):
    """A mesh as its file has it, counted from 0; a triangle's fourth corner is -1."""

    vertices: np.ndarray  # [N, 3] float64
    uv: np.ndarray  # [M, 2] float64
    faces: np.ndarray  # [F, 4] int64
    faces_uv: np.ndarray  # [F, 4] int64


def read_vertices(content: bytes) -> np.ndarray:  # [N, 3] float64
    """The vertices of an OBJ file."""
    return _numbers([line[2:] for line in content.splitlines() if line.startswith(b"v ")], 3)


def read_mesh(content: bytes) -> ObjMesh:
    """Vertices, texture coordinates, and faces of three or four corners `vertex/uv`, of an OBJ file."""
    lines = content.splitlines()
    uv = _numbers([line[3:] for line in lines if line.startswith(b"vt ")], 2)
    faces = [line.split()[1:] for line in lines if line.startswith(b"f ")]
    corners = np.full((len(faces), 4, 2), 0)
    for face, texts in zip(corners, faces):
        face[: len(texts)] = [text.split(b"/")[:2] for text in texts]
    return ObjMesh(read_vertices(content), uv, corners[..., 0] - 1, corners[..., 1] - 1)


def read_licence(content: bytes) -> str:
    """The comment at the head of an OBJ file, without its frame: the licence, in ICT-FaceKit's files."""
    lines = []
    for line in content.decode().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.strip("# "))
    return "\n".join(lines).strip() + "\n"


def pack_shape(content: bytes, neutral: np.ndarray, layout: Layout = ICT_LIGHT) -> np.ndarray:
    """How an OBJ file differs from the neutral mesh: [V, 3] float16. Raises ValueError for another mesh."""
    vertices = read_vertices(content)
    if vertices.shape != neutral.shape:
        raise ValueError(f"{len(vertices)} vertices, expected the neutral mesh's {len(neutral)}")
    # Subtracted in float64 before rounding: the digest of the packed file rests on it.
    return (vertices - neutral)[: layout.num_vertices].astype(np.float16)


def pack(
    neutral: ObjMesh,
    indices: dict,
    identity: list[np.ndarray],
    expression: dict[str, np.ndarray],
    layout: Layout = ICT_LIGHT,
) -> dict[str, np.ndarray]:
    """Make the arrays of the neutral mesh, vertex_indices.json, and packed shapes.

    Expressions stand in the order of vertex_indices.json.
    """
    names = indices["expressions"]
    arkit_names, arkit_to_ict = _arkit(names)
    triangles, triangles_uv = _triangles(neutral, layout.num_vertices)
    stops = [stop for _, stop in layout.parts.values()]
    return {
        "neutral": neutral.vertices[: layout.num_vertices].astype(np.float32),
        "triangles": triangles.astype(np.uint16),
        # Triangles at a seam use vertices of two parts and belong to the later one.
        "triangle_part": np.searchsorted(stops, triangles.max(1), side="right").astype(np.uint8),
        "part_names": np.array(list(layout.parts)),
        "part_vertices": np.array(list(layout.parts.values()), np.int32),
        "uv": neutral.uv[: triangles_uv.max() + 1].astype(np.float16),
        "triangle_uv": triangles_uv.astype(np.uint16),
        "identity": np.stack(identity),
        "expression": np.stack([expression[name] for name in names]),
        "expression_names": np.array(names),
        "arkit_names": np.array(arkit_names),
        "arkit_to_ict": arkit_to_ict,
        "landmarks68": np.array(indices["idx_to_landmark_verts"], np.int32),
        "sclera_iris_ranges": np.array(layout.sclera_iris, np.int32),
        "upper_teeth": np.array(layout.upper_teeth, np.int32),
        "lower_teeth": np.array(layout.lower_teeth, np.int32),
    }


def _numbers(lines: list[bytes], columns: int) -> np.ndarray:  # [N, columns] float64
    return np.array(b" ".join(lines).split(), np.float64).reshape(len(lines), -1)[:, :columns]


def _triangles(mesh: ObjMesh, num_vertices: int) -> tuple[np.ndarray, np.ndarray]:  # [T, 3] each
    is_kept = mesh.faces.max(1) < num_vertices
    faces, faces_uv = mesh.faces[is_kept], mesh.faces_uv[is_kept]
    corners = mesh.vertices[faces]  # [F, 4, 3]
    length_02, length_13 = (np.linalg.norm(corners[:, i] - corners[:, i + 2], axis=1) for i in (0, 1))
    is_triangle = faces[:, 3] < 0
    splits_13 = ~is_triangle & (length_13 < length_02)
    split = np.where(splits_13[:, None, None], [[0, 1, 3], [1, 2, 3]], [[0, 1, 2], [0, 2, 3]])  # [F, 2, 3]
    is_there = np.stack([np.ones_like(is_triangle), ~is_triangle], 1)  # [F, 2]
    row = np.arange(len(faces))[:, None, None]
    return faces[row, split][is_there], faces_uv[row, split][is_there]


def _arkit(names: list[str]) -> tuple[list[str], np.ndarray]:
    """ARKit's names of ICT-FaceKit's shapes, `_neutral` before them, and which shapes each of them drives."""
    arkit_names, driven = ["_neutral"], [[]]
    for column, name in enumerate(names):
        stem, _, half = name.partition("_")
        arkit_name = stem if stem in _JOINED else stem + {"": "", "L": "Left", "R": "Right"}[half]
        if arkit_name not in arkit_names:
            arkit_names.append(arkit_name)
            driven.append([])
        driven[arkit_names.index(arkit_name)].append(column)
    to_ict = np.zeros((len(arkit_names), len(names)), np.float32)
    for row, columns in enumerate(driven):
        to_ict[row, columns] = 1
    return arkit_names, to_ict
