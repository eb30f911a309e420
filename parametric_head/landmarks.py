"""Where MediaPipe's landmarks lie on the mesh, found on the user's machine.

MediaPipe's model file brings a canonical face of 468 points. It is warped onto the head's face part: first by
the landmarks that MediaPipe shares with iBUG's scheme, whose vertices the head model knows; then by closest
points of the surface, a few times over, the warp staying smooth. Lips and lids are told apart by what jawOpen
and eyeBlink move. Irises, which the canonical face lacks, are placed on the eyeballs.
"""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from parametric_head.mesh import vertex_normals
from parametric_head.model import ParametricHead
from utils.errors import UserError

NUM_CANONICAL, NUM_LANDMARKS = 468, 478
# MediaPipe's index by iBUG's: chin, brows, nose, eyes, lips. The sides of the jaw are no points of the skin.
IBUG_TO_MEDIAPIPE = {
    **{6: 149, 8: 152, 10: 378},
    **dict(zip(range(17, 27), (70, 63, 105, 66, 107, 336, 296, 334, 293, 300))),
    **{27: 168, 28: 197, 30: 4, 31: 98, 32: 97, 33: 2, 34: 326, 35: 327},
    **dict(zip(range(36, 48), (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380))),
    **dict(zip(range(48, 60), (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181))),
    **dict(zip(range(60, 68), (78, 81, 13, 311, 308, 402, 14, 178))),
}
# From the corner to the middle of the lips and lids, rings from the skin inwards; right side, left side.
UPPER_LIP = (
    *(185, 40, 39, 37, 0, 267, 269, 270, 409, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(183, 42, 41, 38, 12, 268, 271, 272, 407, 191, 80, 81, 82, 13, 312, 311, 310, 415),
)
LOWER_LIP = (
    *(146, 91, 181, 84, 17, 314, 405, 321, 375, 77, 90, 180, 85, 16, 315, 404, 320, 307),
    *(96, 89, 179, 86, 15, 316, 403, 319, 325, 95, 88, 178, 87, 14, 317, 402, 318, 324),
)
UPPER_LIDS = (246, 161, 160, 159, 158, 157, 173, 398, 384, 385, 386, 387, 388, 466)
LOWER_LIDS = (7, 163, 144, 145, 153, 154, 155, 382, 381, 380, 374, 373, 390, 249)
# By eye, the left one first: the iris, its centre first; and the middles of the upper and the lower lid.
IRISES = (np.arange(473, 478), np.arange(468, 473))
MIDDLE_OF_LIDS = ((386, 374), (159, 145))
# Half of 11.7 mm, the diameter of human irises; cm.
IRIS_RADIUS = 0.585
_CANONICAL = "geometry_pipeline_metadata_landmarks.binarypb"
_ROUNDS = 4
# Of the warp, in units of its kernel (cm): anchors are kept, closest points only followed.
_ANCHOR_SMOOTHING, _SURFACE_SMOOTHING = 1e-3, 0.3
_NEAR_TRIANGLES = 40


class LandmarkPlaces(NamedTuple):
    """Landmark i lies at the sum of `barycentric[i]` times the vertices `vertices[i]`."""

    vertices: np.ndarray  # [478, 3] int32
    barycentric: np.ndarray  # [478, 3] float32

    def first(self, count: int) -> "LandmarkPlaces":
        return LandmarkPlaces(self.vertices[:count], self.barycentric[:count])

    def of(self, mesh: np.ndarray) -> np.ndarray:
        """The landmarks [..., 478, 3] of meshes [..., V, 3]."""
        return np.einsum("...lkc,lk->...lc", mesh[..., self.vertices, :], self.barycentric)


class CanonicalFace(NamedTuple):
    """MediaPipe's face: axes as ours, about centimetres."""

    points: np.ndarray  # [468, 3] float64
    normals: np.ndarray  # [468, 3] float64, out of the face


def landmark_places(head: ParametricHead, face_landmarker: Path) -> LandmarkPlaces:
    """Find MediaPipe's 478 landmarks on the mesh by the canonical face in its model file.

    Raises UserError where the file has none.
    """
    return register(head, read_canonical_face(face_landmarker))


def register(head: ParametricHead, canonical: CanonicalFace) -> LandmarkPlaces:
    """Warp a canonical face onto the mean head, and place the irises."""
    ibug, anchors = np.array(list(IBUG_TO_MEDIAPIPE)), np.array(list(IBUG_TO_MEDIAPIPE.values()))
    targets = head.neutral[head.landmarks68[ibug]].astype(np.float64)
    surface = _Surface(head)
    mirror = cKDTree(canonical.points).query(canonical.points * [-1, 1, 1])[1]  # [468]
    smoothing = np.full(NUM_CANONICAL, _SURFACE_SMOOTHING)
    smoothing[anchors] = _ANCHOR_SMOOTHING
    points = _warp(canonical.points[anchors], targets, canonical.points, _ANCHOR_SMOOTHING)
    for _ in range(_ROUNDS):
        points = (points + points[mirror] * [-1, 1, 1]) / 2
        faces, weights = surface.closest(points, canonical.normals)
        points = np.einsum("nkc,nk->nc", head.neutral[head.triangles[faces]], weights)
        points[anchors] = targets
        points = _warp(canonical.points, points, canonical.points, smoothing)
    points = (points + points[mirror] * [-1, 1, 1]) / 2
    faces, weights = surface.closest(points, canonical.normals)
    iris_faces, iris_weights = _irises(head)
    return LandmarkPlaces(
        np.concatenate([head.triangles[faces], head.triangles[iris_faces]]).astype(np.int32),
        np.concatenate([weights, iris_weights]).astype(np.float32),
    )


def read_canonical_face(face_landmarker: Path) -> CanonicalFace:
    """Read the canonical face in `face_landmarker.task`: a protobuf message in a zip file."""
    try:
        with zipfile.ZipFile(face_landmarker) as bundle:
            (mesh,) = _fields(bundle.read(_CANONICAL), 1)
        # x, y, z, u, v of every vertex; corners of triangles.
        vertices = np.array(list(_fields(mesh, 3)), np.float64).reshape(NUM_CANONICAL, 5)
        triangles = np.array(list(_fields(mesh, 4))).reshape(-1, 3)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, IndexError, struct.error) as error:
        raise UserError(f"{face_landmarker}: no canonical face in it ({error})") from None
    points = vertices[:, :3]
    return CanonicalFace(points, vertex_normals(points, triangles))


class _Surface:
    """The triangles of the face part, and which of them each landmark may lie on."""

    def __init__(self, head: ParametricHead) -> None:
        self._faces = np.flatnonzero(head.is_in("face"))
        self._corners = head.neutral[head.triangles[self._faces]].astype(np.float64)  # [T, 3, 3]
        edges = self._corners[:, 1:] - self._corners[:, :1]
        normals = np.cross(edges[:, 0], edges[:, 1])
        self._normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        self._groups = _groups(head, self._faces)

    def closest(self, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The triangles [468], of the head's, and barycentric weights [468, 3] of the closest places."""
        faces = np.empty(len(points), np.int64)
        weights = np.empty((len(points), 3))
        for landmarks, allowed in self._groups:
            tree = cKDTree(self._corners[allowed].mean(1))
            num_near = min(_NEAR_TRIANGLES, len(allowed))
            near = allowed[tree.query(points[landmarks], num_near)[1]]  # [n, k]
            found = _barycentric_of_closest(points[landmarks, None], self._corners[near])  # [n, k, 3]
            places = np.einsum("nkcd,nkc->nkd", self._corners[near], found)
            distances = np.linalg.norm(places - points[landmarks, None], axis=2)
            # Not the inside of a nostril, nor the back of a lip, where there is another place.
            is_inside = np.einsum("nkd,nd->nk", self._normals[near], normals[landmarks]) < 0.2
            best = np.argmin(distances + 10.0 * is_inside, axis=1)
            row = np.arange(len(landmarks))
            faces[landmarks], weights[landmarks] = self._faces[near[row, best]], found[row, best]
        return faces, weights


def _groups(head: ParametricHead, faces: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Landmarks, and the triangles of `faces` they may lie on: lips and lids stay on their own side."""
    corners = head.triangles[faces]

    def motion(*names: str) -> np.ndarray:  # [T] of the largest
        shapes = head.expression[[head.columns[name] for name in names]].sum(0)
        size = np.linalg.norm(shapes, axis=1)[corners].mean(1)
        return size / size.max()

    jaw, blink = motion("jawOpen"), motion("eyeBlinkLeft", "eyeBlinkRight")
    rules = [
        (UPPER_LIP, jaw < 0.3),
        (LOWER_LIP, jaw > 0.3),
        (UPPER_LIDS, blink > 0.3),
        (LOWER_LIDS, blink < 0.3),
    ]
    others = np.setdiff1d(np.arange(NUM_CANONICAL), np.concatenate([landmarks for landmarks, _ in rules]))
    rules.append((others, np.ones(len(faces), bool)))
    return [(np.array(landmarks), np.flatnonzero(allowed)) for landmarks, allowed in rules]


def _warp(
    source: np.ndarray, target: np.ndarray, points: np.ndarray, smoothing: float | np.ndarray
) -> np.ndarray:
    """Biharmonic spline in three dimensions (kernel -r) with a linear part, from source to target."""
    # A tenth of a second to import, which who only reads a fitted head saves.
    from scipy.interpolate import RBFInterpolator

    return RBFInterpolator(source, target, kernel="linear", smoothing=smoothing, degree=1)(points)


def _irises(head: ParametricHead) -> tuple[np.ndarray, np.ndarray]:
    """Triangles [10], weights [10, 3]: the right iris, then the left, by centre, +x, top, -x, bottom."""
    around = IRIS_RADIUS * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    found = []
    for part, (start, stop) in (("right", head.sclera_iris_ranges[2]), ("left", head.sclera_iris_ranges[0])):
        eyeball = head.is_in(f"eyeball_{part}")
        # The outer mesh, called sclera, covers the iris as a cornea does; its foremost point is the pupil's.
        is_outer = ((head.triangles >= start) & (head.triangles < stop)).all(1)
        faces = np.flatnonzero(eyeball & is_outer)
        pupil = head.neutral[start + head.neutral[start:stop, 2].argmax()]
        found += [_along_z(head, faces, pupil[:2] + offset) for offset in around]
    faces, weights = zip(*found)
    return np.array(faces), np.array(weights)


def _along_z(head: ParametricHead, faces: np.ndarray, place: np.ndarray) -> tuple[int, np.ndarray]:
    """The foremost triangle over a place (x, y), and the place's weights in it."""
    corners = head.neutral[head.triangles[faces]].astype(np.float64)
    to_plane = np.concatenate([corners[..., :2], np.ones((len(faces), 3, 1))], 2)  # [T, 3, 3]
    is_edge_on = np.abs(np.linalg.det(to_plane)) < 1e-9
    to_plane[is_edge_on] = np.eye(3)
    weights = np.linalg.solve(to_plane.transpose(0, 2, 1), np.append(place, 1.0)[None, :, None])[..., 0]
    depth = np.einsum("tk,tk->t", weights, corners[..., 2])
    is_over = ~is_edge_on & (weights > -1e-6).all(1)
    best = np.argmax(np.where(is_over, depth, -np.inf))
    clipped = np.clip(weights[best], 0, None)
    return int(faces[best]), clipped / clipped.sum()


def _barycentric_of_closest(points: np.ndarray, corners: np.ndarray) -> np.ndarray:  # [..., 3]
    """Weights of the points of triangles [..., 3, 3] that are closest to points [..., 3]."""
    first = corners[..., 0, :]
    u, v, w = corners[..., 1, :] - first, corners[..., 2, :] - first, points - first
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    area = np.maximum(uu * vv - uv * uv, 1e-18)
    s, t = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    inside = np.stack([1 - s - t, s, t], -1)
    # Where the foot lies outside, the closest point is on an edge.
    candidates = [inside]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge, to_point = corners[..., j, :] - corners[..., i, :], points - corners[..., i, :]
        part = np.clip((to_point * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-18), 0, 1)
        weights = np.zeros_like(inside)
        weights[..., i], weights[..., j] = 1 - part, part
        candidates.append(weights)
    weights = np.stack(candidates, -2)  # [..., 4, 3]
    distance = np.linalg.norm(
        np.einsum("...kc,...cd->...kd", weights, corners) - points[..., None, :], axis=-1
    )
    distance[..., 0] = np.where((inside >= 0).all(-1), distance[..., 0], np.inf)
    best = distance.argmin(-1)
    return np.take_along_axis(weights, best[..., None, None], -2)[..., 0, :]


def _fields(message: bytes, wanted: int) -> Iterator[bytes | float | int]:
    """Yield the values of a field of a protobuf message: bytes of a message, a float, or an integer."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind == 5:
            value, at = struct.unpack_from("<f", message, at)[0], at + 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if number == wanted:
            yield value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
