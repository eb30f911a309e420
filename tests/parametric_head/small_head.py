"""A parametric head of a thousand vertices with every part of the real one, made of formulas; lengths in cm.

Its shell is an ellipsoid with a nose, eye holes, a mouth slit and ears; brows, lids, lips and jaw are
vertices at iBUG's 68 landmarks. Every shape of ARKit's names moves something but `_neutral`.
"""

import functools

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import Delaunay

from parametric_head.landmarks import NUM_CANONICAL, CanonicalFace, LandmarkPlaces, register
from parametric_head.model import ParametricHead, head_from_arrays
from tests.preparation.synthetic_head import mean_landmarks

HALF_WIDTH, HALF_DEPTH, HALF_HEIGHT, MIDDLE = 7.4, 9.5, 11.0, 1.0
NUM_IDENTITIES = 6
# iBUG's landmarks of the right half (x < 0) and of the middle, as seen from the front.
_HALF = {
    **dict(
        enumerate(
            [(-7.2, 1.5), (-7.1, -0.5), (-6.8, -2.4), (-6.2, -4.2), (-5.4, -5.9), (-4.2, -7.3), (-3, -8.3)]
        )
    ),
    **{7: (-1.5, -8.9), 8: (0, -9.1)},
    **{17: (-5.6, 4.0), 18: (-4.7, 4.7), 19: (-3.6, 4.9), 20: (-2.5, 4.7), 21: (-1.4, 4.3)},
    **{
        27: (0, 3.0),
        28: (0, 1.9),
        29: (0, 0.8),
        30: (0, -0.3),
        31: (-1.4, -1.2),
        32: (-0.7, -1.4),
        33: (0, -1.5),
    },
    **{36: (-4.6, 2.9), 37: (-3.7, 3.4), 38: (-2.7, 3.4), 39: (-1.8, 2.8), 40: (-2.7, 2.4), 41: (-3.7, 2.4)},
    **{48: (-2.5, -4.2), 49: (-1.7, -3.4), 50: (-0.7, -3.3), 51: (0, -3.4), 57: (0, -5.4), 58: (-0.9, -5.3)},
    **{
        59: (-1.7, -4.9),
        60: (-2.1, -4.2),
        61: (-1.2, -4.15),
        62: (0, -4.15),
        66: (0, -4.3),
        67: (-1.2, -4.3),
    },
}
# Where the landmarks of the right half stand in the left one.
_MIRROR = {
    **{i: 16 - i for i in range(8)},
    **{i: 43 - i for i in range(17, 22)},
    **{31: 35, 32: 34, 36: 45, 37: 44, 38: 43, 39: 42, 40: 47, 41: 46},
    **{48: 54, 49: 53, 50: 52, 58: 56, 59: 55, 60: 64, 61: 63, 67: 65},
}
_EYE = np.array([3.2, 2.9])
# The face ends behind the ears: an angle, unrolled.
_FACE_LIMIT = np.deg2rad(103) * HALF_WIDTH
# Centre in the front view (of the left side where a shape has one), reach, and motion; cm.
_MOTIONS = {
    "browDown": ((3.5, 4.7), 1.2, (-0.2, -0.7, 0)),
    "browInnerUp": ((0, 4.4), 1.6, (0, 0.8, 0)),
    "browOuterUp": ((5.0, 4.5), 1.0, (0, 0.8, 0)),
    "cheekPuff": ((4.2, -3.5), 1.6, (0.3, 0, 0.8)),
    "cheekSquint": ((3.8, 0.8), 1.1, (0, 0.5, 0.1)),
    "eyeLookDown": ((3.2, 3.5), 0.6, (0, -0.3, 0)),
    "eyeLookIn": ((3.2, 2.9), 0.8, (-0.1, 0, 0)),
    "eyeLookOut": ((3.2, 2.9), 0.8, (0.1, 0, 0)),
    "eyeLookUp": ((3.2, 3.5), 0.6, (0, 0.25, 0)),
    "eyeSquint": ((3.2, 2.2), 0.7, (0, 0.3, 0)),
    "eyeWide": ((3.2, 3.5), 0.6, (0, 0.3, 0)),
    "jawForward": ((0, -7.5), 2.6, (0, 0, 0.8)),
    "jawLeft": ((0, -7.5), 2.6, (0.8, 0, 0)),
    "jawRight": ((0, -7.5), 2.6, (-0.8, 0, 0)),
    "mouthDimple": ((2.5, -4.2), 0.7, (0.3, 0, -0.3)),
    "mouthFrown": ((2.5, -4.3), 0.9, (0.1, -0.7, 0)),
    "mouthLeft": ((0, -4.2), 1.8, (0.8, 0, 0)),
    "mouthRight": ((0, -4.2), 1.8, (-0.8, 0, 0)),
    "mouthLowerDown": ((1.0, -4.9), 0.8, (0, -0.6, 0)),
    "mouthPress": ((1.2, -4.5), 0.8, (0, 0.15, -0.2)),
    "mouthRollLower": ((0, -4.9), 1.2, (0, 0.25, -0.4)),
    "mouthRollUpper": ((0, -3.6), 1.2, (0, -0.25, -0.4)),
    "mouthShrugLower": ((0, -5.8), 1.4, (0, 0.6, 0.2)),
    "mouthShrugUpper": ((0, -3.2), 1.2, (0, 0.4, 0.2)),
    "mouthSmile": ((2.5, -4.0), 1.1, (0.6, 0.8, -0.2)),
    "mouthStretch": ((2.7, -4.6), 1.0, (0.8, -0.3, -0.1)),
    "mouthUpperUp": ((1.0, -3.5), 0.8, (0, 0.5, 0)),
    "noseSneer": ((1.3, -0.8), 0.9, (0, 0.5, 0.1)),
}


@functools.cache
def small_head(seed: int = 0) -> ParametricHead:
    """The head; `seed` draws its identity shapes."""
    return head_from_arrays(small_arrays(seed))


@functools.cache
def small_landmarks(head: ParametricHead) -> LandmarkPlaces:
    """A real face's 478 landmarks (tests/preparation/face.npz) registered onto the small head."""
    return register(head, real_face())


def real_face() -> CanonicalFace:
    """The mean face of a clip made symmetric, as MediaPipe's canonical face is; cm."""
    points = mean_landmarks()[:NUM_CANONICAL] / 0.029
    mirrored = points * [-1, 1, 1]
    _, partner = linear_sum_assignment(np.linalg.norm(points[:, None] - mirrored, axis=2))
    points = (points + mirrored[partner]) / 2
    normals = points - [0, 0, points[:, 2].min() - 5]
    return CanonicalFace(points, normals / np.linalg.norm(normals, axis=1, keepdims=True))


def small_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """The packed arrays of the head, as a packed file holds them."""
    parts, face_landmarks = _parts()
    vertices = np.concatenate([points for points, _ in parts.values()])
    stops = np.cumsum([len(points) for points, _ in parts.values()])
    ranges = np.stack([np.r_[0, stops[:-1]], stops], 1).astype(np.int32)
    # Triangles of the head and neck use the face's vertices at the seam: they count from 0.
    starts = np.where(np.arange(len(parts)) < 2, 0, ranges[:, 0])
    triangles = np.concatenate([faces + start for (_, faces), start in zip(parts.values(), starts)])
    part = np.repeat(np.arange(len(parts)), [len(faces) for _, faces in parts.values()])
    teeth, balls = ranges[6], ranges[7:9]
    middle, num_sclera = int(teeth.mean()), len(_ball(1)[0]) - 13
    shapes = expressions(vertices, vertices[face_landmarks], ranges)
    return {
        "neutral": vertices.astype(np.float32),
        "triangles": triangles.astype(np.uint16),
        "triangle_part": part.astype(np.uint8),
        "part_names": np.array(list(parts)),
        "part_vertices": ranges,
        "uv": (vertices[:, :2] / 30 + 0.5).astype(np.float16),
        "triangle_uv": triangles.astype(np.uint16),
        "identity": identities(vertices, seed).astype(np.float16),
        "expression": np.stack(list(shapes.values())).astype(np.float16),
        "expression_names": np.array(list(shapes)),
        "arkit_names": np.array(["_neutral", *shapes]),
        "arkit_to_ict": np.eye(len(shapes) + 1, len(shapes), -1, dtype=np.float32),
        "landmarks68": face_landmarks.astype(np.int32),
        "sclera_iris_ranges": np.array(
            [
                [start, start + num_sclera] if i == 0 else [start + num_sclera, stop]
                for start, stop in balls
                for i in range(2)
            ],
            np.int32,
        ),
        "upper_teeth": np.array([teeth[0], middle], np.int32),
        "lower_teeth": np.array([middle, teeth[1]], np.int32),
    }


def identities(vertices: np.ndarray, seed: int) -> np.ndarray:  # [K, V, 3]
    """Wider, taller, deeper, a longer nose, a larger jaw, and a smooth random change."""
    random = np.random.default_rng(seed)
    x, y, z = vertices.T
    nothing = np.zeros_like(x)
    phase, direction = random.uniform(0, 2 * np.pi, 3), random.normal(size=3)
    wave = np.cos(0.25 * y + phase[0]) * np.cos(0.2 * z + phase[1]) * np.cos(0.25 * np.abs(x) + phase[2])
    nose = np.exp(-(x**2 + (y + 0.5) ** 2) / 3) * (z > 5)
    jaw = 1 / (1 + np.exp(y + 6)) * (z > 0)
    shapes = [
        (0.05 * x, nothing, nothing),
        (nothing, 0.04 * y, nothing),
        (nothing, nothing, 0.05 * z),
        (nothing, -0.15 * nose, 0.4 * nose),
        (0.05 * x * jaw, -0.3 * jaw, 0.3 * jaw),
        0.3 * wave * direction[:, None] * np.stack([np.tanh(x), nothing + 1, nothing + 1]),
    ]
    return np.stack([np.stack(shape, 1) for shape in shapes])


def expressions(vertices: np.ndarray, landmarks: np.ndarray, ranges: np.ndarray) -> dict[str, np.ndarray]:
    """Motions [V, 3] of all vertices by ARKit's names, in alphabetic order; eyeballs stay as they are."""
    is_skin = np.zeros(len(vertices), bool)
    is_skin[: ranges[0, 1]] = vertices[: ranges[0, 1], 2] > 0
    shapes = {}
    for name, (centre, reach, motion) in _MOTIONS.items():
        is_one = centre[0] == 0 and name != "cheekPuff"
        for suffix, sides in [("", [1])] if is_one else [("", [1, -1])] if name == "cheekPuff" else _SIDES:
            shapes[name + suffix] = sum(
                _bump(vertices, np.multiply(centre, (side, 1)), reach, is_skin)[:, None]
                * np.multiply(motion, (side if not is_one else 1, 1, 1))
                for side in sides
            )
    for suffix, (side,) in _SIDES:
        shapes["eyeBlink" + suffix] = _blink(vertices, landmarks, side, is_skin)
    below = is_skin * np.clip((-4.22 - vertices[:, 1]) / 0.05, 0, 1) * np.clip(vertices[:, 2] / 4, 0, 1)
    below *= np.exp(-((vertices[:, 0] / 6) ** 4))
    for part in (5, 6):
        inside = np.arange(*ranges[part])
        below[inside] = vertices[inside, 1] < -4.22
    shapes["jawOpen"] = below[:, None] * [0, -2.5, -0.8]
    lip = _bump(vertices, (0, -4.6), 1.3, is_skin) * (vertices[:, 1] < -4.22)
    shapes["mouthClose"] = lip[:, None] * [0, 2.2, 0.6]
    mouth = _bump(vertices, (0, -4.2), 1.8, is_skin)[:, None]
    shapes["mouthPucker"] = mouth * (vertices * [-0.35, 0, 0] + [0, 0, 0.6])
    shapes["mouthFunnel"] = mouth * ((vertices - [0, -4.2, 0]) * [-0.25, 0.3, 0] + [0, 0, 0.7])
    return dict(sorted(shapes.items()))


_SIDES = [("Left", [1]), ("Right", [-1])]


def _bump(vertices: np.ndarray, centre: np.ndarray, reach: float, where: np.ndarray) -> np.ndarray:  # [V]
    return np.exp(-((vertices[:, :2] - centre) ** 2).sum(1) / (2 * reach**2)) * where


def _blink(vertices: np.ndarray, landmarks: np.ndarray, side: int, where: np.ndarray) -> np.ndarray:
    """The upper lid comes down to the lower one, and takes what is between it and the brow along."""
    upper, lower = (
        (landmarks[[43, 44]], landmarks[[47, 46]]) if side > 0 else (landmarks[37:39], landmarks[[41, 40]])
    )
    x, y = vertices[:, 0], vertices[:, 1]
    is_near = where * (np.abs(x - side * _EYE[0]) < 1.3) * (y > 3.1)
    weight = is_near * np.clip((4.6 - y) / (4.6 - upper[0, 1]), 0, 1)
    return weight[:, None] * (lower - upper).mean(0)


def _parts() -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Vertices and triangles of every part; the vertices of iBUG's landmarks."""
    points, faces, num_face = _shell()
    is_back = (faces >= num_face).any(1)
    neck_points, neck_faces = _tube(5.0, -7.0, -14.0)
    back = np.concatenate([points[num_face:], neck_points])
    mouth, mouth_faces = _cup(np.array([0, -4.2, 7.0]), np.array([2.3, 1.2, 3.0]))
    parts = {
        "face": (points[:num_face], faces[~is_back]),
        "head_neck": (back, np.concatenate([faces[is_back], neck_faces + len(points)])),
        "mouth_socket": (mouth, mouth_faces),
    }
    for name, side in (("left", 1), ("right", -1)):
        parts[f"eye_socket_{name}"] = _cup(_ball_centre(side), np.array([1.35, 1.35, 1.4]))
    rows = {y: _row(y) for y in (-3.9, -4.5)}
    jaws = [_row(y, 1.0, 0.8) for y in (-3.4, -5.0)]
    parts["gums_tongue"] = _joined(jaws)
    parts["teeth"] = _joined(list(rows.values()))
    parts["eyeball_left"], parts["eyeball_right"] = _ball(1), _ball(-1)
    # The landmarks are the shell's first vertices, the right half and the middle before the left half.
    places = [*_HALF, *(_MIRROR[i] for i in _HALF if i in _MIRROR)]
    return parts, np.argsort(places)


def _shell() -> tuple[np.ndarray, np.ndarray, int]:
    """Points and triangles of the closed head without its neck; how many points are the face's."""
    right = np.array(list(_HALF.values()), float)
    left = np.array([_HALF[i] for i in _HALF if i in _MIRROR], float) * [-1, 1]
    marks = np.concatenate([right, left])
    angles = np.arcsin(marks[:, 0] / (HALF_WIDTH * _narrowing(marks[:, 1])))
    flat = np.stack([angles * HALF_WIDTH, marks[:, 1]], 1)
    limit = np.pi * HALF_WIDTH
    columns, rows = np.linspace(-limit, limit, 37), np.linspace(-9.6, 11.4, 19)
    grid = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    distance = np.linalg.norm(grid[:, None] - flat, axis=2).min(1)
    is_eye = np.linalg.norm(np.abs(grid) - [3.3, 2.9], axis=1) < 1.3
    grid = grid[(distance > 0.75) & ~(is_eye & (grid[:, 1] > 0))]
    grid = grid[np.argsort(np.abs(grid[:, 0]) > _FACE_LIMIT, kind="stable")]
    flat = np.concatenate([flat, grid])
    faces = Delaunay(flat).simplices
    faces = faces[~_is_open(flat[faces].mean(1))]
    first, second, third = flat[faces].transpose(1, 0, 2)
    (x1, y1), (x2, y2) = (second - first).T, (third - first).T
    turn = x1 * y2 - y1 * x2
    faces = np.where(turn[:, None] > 0, faces, faces[:, ::-1])[np.abs(turn) > 1e-6]
    # The seam at the back: its right edge is its left edge.
    merged = np.arange(len(flat))
    seam = np.flatnonzero(np.isclose(flat[:, 0], limit))
    for index in np.flatnonzero(np.isclose(flat[:, 0], -limit)):
        merged[index] = seam[np.argmin(np.abs(flat[seam, 1] - flat[index, 1]))]
    kept = np.flatnonzero(merged == np.arange(len(flat)))
    renumbered = np.searchsorted(kept, merged)
    points, faces = _lift(flat[kept]), renumbered[faces]
    num_face = int((np.abs(flat[kept, 0]) <= _FACE_LIMIT).sum())
    lids = []
    for height, apex in ((rows[-1], [0, MIDDLE + HALF_HEIGHT, 0]), (rows[0], [0, MIDDLE - HALF_HEIGHT, 0])):
        (rim,) = np.nonzero(np.isclose(flat[kept, 1], height))
        rim = rim[np.argsort(flat[kept][rim, 0])]
        if height < 0:
            rim = rim[::-1]
        lids.append(np.stack([rim, np.roll(rim, -1), np.full(len(rim), len(points))], 1))
        points = np.concatenate([points, [apex]])
    return points, np.concatenate([faces, *lids]), num_face


def _narrowing(y: np.ndarray) -> np.ndarray:
    return np.cbrt(1 - np.minimum(np.abs(y - MIDDLE) / HALF_HEIGHT, 0.98) ** 3)


def _lift(flat: np.ndarray) -> np.ndarray:  # [N, 3]
    """From the unrolled surface to space, with nose and ears."""
    angle, y = flat[:, 0] / HALF_WIDTH, flat[:, 1]
    narrowing = _narrowing(y)
    x, z = HALF_WIDTH * narrowing * np.sin(angle), HALF_DEPTH * narrowing * np.cos(angle)
    nose = np.exp(-((x / 0.9) ** 2)) * np.clip((3.2 - y) / 3.5, 0, 1) * (y > -1.2)
    ears = np.exp(-(((np.abs(angle) - 1.7) / 0.15) ** 2) - ((y - 1) / 2) ** 2)
    return np.stack([x + 1.5 * ears * np.sign(angle), y, z + 2.2 * nose], 1)


def _is_open(flat: np.ndarray) -> np.ndarray:  # [N]
    """Whether points of the unrolled surface lie in the eye holes or the mouth slit."""
    marks = {i: (np.arcsin(x / (HALF_WIDTH * _narrowing(y))) * HALF_WIDTH, y) for i, (x, y) in _HALF.items()}
    across, y = -np.abs(flat[:, 0]), flat[:, 1]

    def between(upper: list[int], lower: list[int]) -> np.ndarray:
        top, bottom = (np.array([marks[i] for i in row]).T for row in (upper, lower))
        is_inside = (across > top[0, 0]) & (across < top[0, -1] + 1e-9)
        return is_inside & (y < np.interp(across, *top)) & (y > np.interp(across, *bottom))

    return between([36, 37, 38, 39], [36, 41, 40, 39]) | between([60, 61, 62], [60, 67, 66])


def _ball_centre(side: int) -> np.ndarray:
    surface = _lift(np.array([[np.arcsin(_EYE[0] / HALF_WIDTH) * HALF_WIDTH, _EYE[1]]]))[0, 2]
    return np.array([side * _EYE[0], _EYE[1], surface - 1.5])


def _ball(side: int) -> tuple[np.ndarray, np.ndarray]:
    """An eyeball: a sphere, its pole to the front, and an iris of 13 points just below its surface."""
    points, faces = _sphere(np.linspace(0, np.pi, 8), 12)
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    iris = np.stack([0.58 * np.cos(turn), 0.58 * np.sin(turn), np.full(12, 1.0)], 1)
    iris = np.concatenate([[[0, 0, 1.0]], iris])
    fan = np.stack([np.zeros(12, int), 1 + np.arange(12), 1 + (np.arange(12) + 1) % 12], 1)
    points = np.concatenate([1.2 * points, iris]) + _ball_centre(side)
    return points, np.concatenate([faces, fan + len(points) - 13])


def _cup(centre: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The back half of an ellipsoid, seen from its inside."""
    points, faces = _sphere(np.linspace(np.pi / 2, np.pi, 4), 10)
    return points * axes + centre, faces[:, ::-1]


def _sphere(polar: np.ndarray, num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Rings of a unit sphere about z."""
    turn = np.linspace(0, 2 * np.pi, num_columns, endpoint=False)
    polar, turn = (axis.ravel() for axis in np.meshgrid(polar, turn, indexing="ij"))
    points = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], 1)
    return points, _rings(len(points) // num_columns, num_columns)


def _tube(radius: float, top: float, bottom: float) -> tuple[np.ndarray, np.ndarray]:
    y, turn = np.meshgrid(
        np.linspace(top, bottom, 4), np.linspace(0, 2 * np.pi, 16, endpoint=False), indexing="ij"
    )
    points = np.stack([radius * np.sin(turn), y, radius * np.cos(turn) - 1.5], -1).reshape(-1, 3)
    return points, _rings(4, 16)


def _rings(num_rows: int, num_columns: int) -> np.ndarray:  # [T, 3]
    row, column = np.meshgrid(np.arange(num_rows - 1), np.arange(num_columns), indexing="ij")
    here, beside = row * num_columns + column, row * num_columns + (column + 1) % num_columns
    corners = np.stack([here, here + num_columns, beside + num_columns, beside], -1).reshape(-1, 4)
    return np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])


def _row(y: float, height: float = 0.5, back: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """A bow of teeth, or of gums, about height y."""
    angle = np.linspace(-1, 1, 9)
    bow = np.stack([2.2 * np.sin(angle), np.zeros(9), HALF_DEPTH * 0.9 - 3 + 2.5 * np.cos(angle) - back], 1)
    points = np.concatenate([bow + np.array([0, y + side * height / 2, 0]) for side in (1, -1)])
    left = np.arange(8)
    faces = np.stack([left, left + 9, left + 10, left + 1], 1)
    return points, np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])


def _joined(meshes: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    points, faces = zip(*meshes)
    starts = np.cumsum([0, *(len(each) for each in points[:-1])])
    return np.concatenate(points), np.concatenate([each + start for each, start in zip(faces, starts)])
