"""The small head as ICT-FaceKit publishes a model: OBJ files and vertex_indices.json."""

import json

import numpy as np

from parametric_head.packing import Layout
from tests.parametric_head.small_head import small_arrays

LICENCE = "#######\n#     #\n# ICT #\n# Anyone may use it.  #\n#######\n\n"


def small_layout() -> Layout:
    arrays = small_arrays()
    return Layout(
        dict(zip(arrays["part_names"].tolist(), arrays["part_vertices"].tolist())),
        tuple(arrays["sclera_iris_ranges"].tolist()),
        tuple(arrays["upper_teeth"]),
        tuple(arrays["lower_teeth"]),
    )


def ict_name(name: str) -> str:
    """ICT-FaceKit's name of an ARKit coefficient with sides."""
    for side in ("Left", "Right"):
        if name.endswith(side) and name not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
            return f"{name.removesuffix(side)}_{side[0]}"
    return name


def obj_text(vertices: np.ndarray, uv: np.ndarray, faces: list[list[int]]) -> bytes:
    """A file in which every face's corners have the texture coordinates of their vertices."""
    lines = [LICENCE, "mtllib some.mtl", *("v {:.9g} {:.9g} {:.9g}".format(*point) for point in vertices)]
    lines += ["vt {:.9g} {:.9g}".format(*point) for point in uv]
    lines += ["usemtl M_Face", *("f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in faces)]
    return "\n".join(lines).encode()


def published_files() -> dict[str, bytes]:
    """The contents by name: the small head, a square that is left out, 3 identities, every expression."""
    arrays = small_arrays()
    neutral, uv = arrays["neutral"].astype(np.float64), arrays["uv"].astype(np.float64)
    # Behind the vertices of use: a square in front of the head.
    square = np.array([[-1, -1, 20], [1, -1, 20], [1, 1, 20], [-1, 1, 20]])
    first = len(neutral)
    faces = [*arrays["triangles"].tolist(), list(range(first, first + 4))]
    all_uv = np.concatenate([uv, np.zeros((4, 2))])

    def mesh(shape: np.ndarray) -> bytes:
        return obj_text(np.concatenate([neutral + shape, square]), all_uv, faces)

    names = [ict_name(name) for name in arrays["expression_names"].tolist()]
    files = {
        "generic_neutral_mesh.obj": mesh(np.zeros_like(neutral)),
        "vertex_indices.json": json.dumps(
            {"expressions": names, "idx_to_landmark_verts": arrays["landmarks68"].tolist()}
        ).encode(),
    }
    for index in range(3):
        files[f"identity{index:03}.obj"] = mesh(arrays["identity"][index].astype(np.float64))
    for name, shape in zip(names, arrays["expression"].astype(np.float64)):
        files[f"{name}.obj"] = mesh(shape)
    return files
