"""The head model: a mean head, how heads differ, and how faces move; units of the model are centimetres.

x to the left of the person, y up, z out of the face. Vertices of a head are
neutral + identity weights @ identity + coefficients @ expression; identity weights are N(0, 1) over people,
coefficients are ARKit's, 0 to 1.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

NAME = "ICT-FaceKit light"
# Every array of the packed file, in the order in which the digest takes them.
ARRAYS = (
    *("neutral", "triangles", "triangle_part", "part_names", "part_vertices", "uv", "triangle_uv"),
    *("identity", "expression", "expression_names", "arkit_names", "arkit_to_ict", "landmarks68"),
    *("sclera_iris_ranges", "upper_teeth", "lower_teeth"),
)


@dataclass(frozen=True, eq=False)
class ParametricHead:
    """V vertices, T triangles, K identity shapes, E expression shapes by ARKit's names."""

    neutral: np.ndarray  # [V, 3] float32 cm
    triangles: np.ndarray  # [T, 3] int32
    triangle_part: np.ndarray  # [T] uint8, an index of part_names
    part_names: tuple[str, ...]
    # From and to, of every part.
    part_vertices: np.ndarray  # [P, 2] int32
    uv: np.ndarray  # [U, 2] float16
    triangle_uv: np.ndarray  # [T, 3] int32, indices of uv
    identity: np.ndarray  # [K, V, 3] float32 cm, per standard deviation
    expression: np.ndarray  # [E, V, 3] float32 cm
    # ARKit's names, `_neutral` (which moves nothing) among them.
    names: tuple[str, ...]
    # Vertices of the 68 landmarks of iBUG's scheme.
    landmarks68: np.ndarray  # [68] int32
    # Vertex ranges: sclera and iris of the left eye, then of the right one.
    sclera_iris_ranges: np.ndarray  # [4, 2] int32
    upper_teeth: np.ndarray  # [2] int32
    lower_teeth: np.ndarray  # [2] int32
    # SHA-256 over the packed arrays.
    digest: str

    def part(self, name: str) -> slice:
        """The vertices of a part."""
        start, stop = self.part_vertices[self.part_names.index(name)]
        return slice(int(start), int(stop))

    def is_in(self, *names: str) -> np.ndarray:  # [T] bool
        """Which triangles are of some parts."""
        return np.isin(self.triangle_part, [self.part_names.index(name) for name in names])

    def triangles_of(self, *names: str) -> np.ndarray:  # [T', 3]
        """The triangles of some parts."""
        return self.triangles[self.is_in(*names)]

    @property
    def signature(self) -> dict[str, str]:
        """What says in files which model it was."""
        return {"name": NAME, "sha256": self.digest}

    @cached_property
    def columns(self) -> dict[str, int]:
        """Where each coefficient stands."""
        return {name: column for column, name in enumerate(self.names)}


def load_head(path: Path) -> ParametricHead:
    """Read a packed file, unchecked; `model_file.find_head` checks it first."""
    with np.load(path, allow_pickle=False) as stored:
        return head_from_arrays({name: stored[name] for name in ARRAYS})


def head_from_arrays(arrays: dict[str, np.ndarray]) -> ParametricHead:
    """Make the model of packed arrays; halves of ARKit's shapes (browInnerUp, cheekPuff) are put together."""
    to_ict = arrays["arkit_to_ict"].astype(np.float32)  # [E, 53]
    shapes = arrays["expression"].astype(np.float32)
    return ParametricHead(
        neutral=arrays["neutral"].astype(np.float32),
        triangles=arrays["triangles"].astype(np.int32),
        triangle_part=arrays["triangle_part"],
        part_names=tuple(arrays["part_names"].tolist()),
        part_vertices=arrays["part_vertices"],
        uv=arrays["uv"],
        triangle_uv=arrays["triangle_uv"].astype(np.int32),
        identity=arrays["identity"].astype(np.float32),
        expression=np.tensordot(to_ict, shapes, 1),
        names=tuple(arrays["arkit_names"].tolist()),
        landmarks68=arrays["landmarks68"],
        sclera_iris_ranges=arrays["sclera_iris_ranges"],
        upper_teeth=arrays["upper_teeth"],
        lower_teeth=arrays["lower_teeth"],
        digest=content_digest(arrays),
    )


def content_digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of names, types, shapes and bytes of the packed arrays; a zip's time stamps play no part."""
    digest = hashlib.sha256()
    for name in ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
