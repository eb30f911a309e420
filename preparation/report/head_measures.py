"""What a tracked head is worth: numbers that the residual flow cannot see.

Whether expressions follow the face, whether lips and lids close, whether the clip tells the head's depth,
and how far it turns. All are of the picture, in its pixels; the head model is only seen through landmarks.
"""

from typing import NamedTuple

import numpy as np

from parametric_head.landmarks import (
    LOWER_LIDS,
    LOWER_LIP,
    MIDDLE_OF_LIDS,
    NUM_CANONICAL,
    UPPER_LIDS,
    UPPER_LIP,
)
from parametric_head.person import PersonMesh
from preparation.geometry.camera import Camera
from preparation.geometry.landmark_names import (
    LEFT_BROW,
    LEFT_EYE,
    LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
    STABLE,
)
from preparation.geometry.rigid import Poses, project
from preparation.head_fit.score_map import held_out_coefficients
from preparation.tracking.bundle_adjustment import solve
from utils.sampling import evenly_spread

# The chin and the edge of the jaw, up to where it no longer follows the mouth.
_JAW = np.array(
    [148, 176, 149, 150, 136, 172, 152, 377, 400, 378, 379, 365, 397, 200, 199, 175, 171, 396, 208, 428]
)
REGIONS = {
    "all": np.arange(NUM_CANONICAL),
    "mouth": np.union1d(LIPS, [*UPPER_LIP, *LOWER_LIP]),
    "jaw": _JAW,
    "lids": np.union1d(np.union1d(LEFT_EYE, RIGHT_EYE), [*UPPER_LIDS, *LOWER_LIDS]),
    "brows": np.union1d(LEFT_BROW, RIGHT_BROW),
}
# Upper and lower, in the middle of the inner lips.
MIDDLE_OF_LIPS = (13, 14)
# Head units (0.5 mm): the detector's lips touch.
_CLOSED_LIPS = 0.0015
# Of how far an eye is usually open: the detector's lids never meet.
_CLOSED_LIDS = 0.3
# Errors beyond so many medians count as that many.
_OUTLIER = 4.0
_MOST_FRAMES = 200
# Frames at once; bounds the memory.
_CHUNK = 256
# Degrees of yaw, both ends together, below which a clip shows no side; and to each side of a good one.
_SMALL_TURN, _GOOD_SIDE = 20.0, 15.0
_ADVICE = "film 30 degrees to either side"
# Relative changes of the error by less say nothing of the depth.
SAYS_NOTHING = 0.03


class TurnedRange(NamedTuple):
    """Between which angles the head was seen, without the outermost 2.5 percent; degrees.

    0: the face looks into the camera. Yaw is positive to the image's right, pitch upwards.
    """

    yaw: tuple[float, float]
    pitch: tuple[float, float]


def explained_motion(
    mesh: PersonMesh,
    coefficients: np.ndarray,  # [F, E]
    landmark_poses: Poses,
    pixels: np.ndarray,  # [F, 478, 2]
    camera: Camera,
) -> dict[str, float]:
    """Tell by region which share of the landmarks' motion the coefficients explain.

    1 - var(pixels - head) / var(pixels - head with the mean coefficients), under the same poses, the variance
    about each landmark's own mean: a landmark that is always off by the same does not count.
    """
    usual = skin_landmarks(mesh, coefficients.mean(axis=0, keepdims=True))  # [1, 468, 3]
    # Sums over the frames: of the motion and of what remains.
    sums, squares = np.zeros((2, NUM_CANONICAL, 2)), np.zeros((2, NUM_CANONICAL, 2))
    for rows in _chunks(len(pixels)):
        poses = landmark_poses.select(rows)
        for kind, points in enumerate((usual, skin_landmarks(mesh, coefficients[rows]))):
            predicted = project(poses.apply(points), camera.focal, camera.center)
            error = pixels[rows, :NUM_CANONICAL] - predicted  # [f, 468, 2]
            sums[kind] += error.sum(axis=0)
            squares[kind] += (error**2).sum(axis=0)
    motion, residual = ((squares - sums**2 / len(pixels)) / len(pixels)).sum(axis=-1)  # [468]
    return {
        region: float(1 - residual[landmarks].sum() / motion[landmarks].sum())
        for region, landmarks in REGIONS.items()
    }


def held_out_explained(
    mesh: PersonMesh,
    scores: np.ndarray,  # [F, E] under the head model's names
    coefficients: np.ndarray,  # [F, E]
    landmark_poses: Poses,
    pixels: np.ndarray,  # [F, 478, 2]
    camera: Camera,
) -> dict[str, float]:
    """Tell what the detector's scores explain: those of each quarter, by the map of the other three."""
    mapped = held_out_coefficients(scores, coefficients, mesh.head.names)
    return explained_motion(mesh, mapped, landmark_poses, pixels, camera)


def skin_landmarks(mesh: PersonMesh, coefficients: np.ndarray) -> np.ndarray:  # [F, E] -> [F, 468, 3]
    """Landmarks but the irises, which turn, of many frames: the mesh's other vertices are left alone."""
    neutral, shapes = mesh.places.of(mesh.neutral), mesh.places.of(mesh.shapes)
    return neutral[:NUM_CANONICAL] + np.tensordot(coefficients, shapes[:, :NUM_CANONICAL], 1)


def lip_and_lid_gaps(
    mesh: PersonMesh,
    coefficients: np.ndarray,  # [F, E]
    poses: Poses,
    pixels: np.ndarray,  # [F, 478, 2]
    camera: Camera,
) -> dict[str, dict[str, float]]:
    """Measure how far the mesh's lips and lids are apart where the detector's are closed, in pixels.

    Gaps are along the face's own up direction; lips that cross each other are as far apart as they overlap.
    Of lips and each eye: frames that are closed, the mesh's median and 95 %, the detector's median; only the
    number of frames where none is closed.
    """
    up = poses.rotations[:, :2, 1]
    up = up / np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-9)  # [F, 2]
    found = {}
    for name, pair in {
        "lips": MIDDLE_OF_LIPS,
        **{f"{side}_lids": pair for side, pair in zip(("left", "right"), MIDDLE_OF_LIDS, strict=True)},
    }.items():
        seen = _gaps(pixels[:, pair], up)
        in_head_units = seen * poses.translations[:, 2] / camera.focal
        limit = _CLOSED_LIPS if name == "lips" else _CLOSED_LIDS * np.percentile(in_head_units, 75)
        is_closed = in_head_units < limit
        found[name] = {"frames": int(is_closed.sum())}
        if is_closed.any():
            points = skin_landmarks(mesh, coefficients[is_closed])[:, pair]  # [f, 2, 3]
            drawn = project(poses.select(is_closed).apply(points), camera.focal, camera.center)
            gaps = _gaps(drawn, up[is_closed])
            found[name] |= {
                "median": float(np.median(gaps)),
                "95_percent": float(np.percentile(gaps, 95)),
                "detector_median": float(np.median(seen[is_closed])),
            }
    return found


def depth_tradeoff(
    landmarks: np.ndarray,  # [478, 3] at rest, head units
    pixels: np.ndarray,  # [F, 478, 2]
    poses: Poses,
    camera: Camera,
    factors: tuple[float, ...] = (0.8, 1.25),
) -> dict[str, float]:
    """Tell by which share the error rises when the head's depth is scaled and all poses are solved anew.

    Where it hardly rises (`SAYS_NOTHING`) the clip cannot tell depth from rotation, the bas-relief ambiguity
    (Belhumeur et al. 1999): the depth is that of the head model's prior. The error is of the stable
    landmarks, about each one's own median: a constant shift in the picture is what another face would give,
    and with it a clip that turns by 60 degrees looked as mute as one that turns by 7.
    """
    rows = evenly_spread(len(pixels), _MOST_FRAMES)
    observed, poses, shape = pixels[rows][:, STABLE], poses.select(rows), landmarks[STABLE]
    middle = shape[:, 2].mean()
    limit = None
    errors = {}
    for factor in (1.0, *factors):
        scaled = shape * [1, 1, factor] + [0, 0, (1 - factor) * middle]
        found = solve(observed, scaled, poses, camera, prior_sigma=0).poses
        error = observed - project(found.apply(scaled), camera.focal, camera.center)
        lengths = np.linalg.norm(error - np.median(error, axis=0), axis=-1)
        # The same for all: else larger errors would be outliers only later.
        limit = _OUTLIER * np.median(lengths) if limit is None else limit
        errors[factor] = np.sqrt((np.minimum(lengths, limit) ** 2).mean())
    return {f"{factor:g}": float(errors[factor] / errors[1.0] - 1) for factor in factors}


def tells_depth(tradeoff: dict[str, float]) -> bool:
    """Whether a clip tells the head's depth, by what `depth_tradeoff` found.

    By the larger change: where the error falls, or hardly rises, on one side only, the clip does tell the
    depth, and the head's is a little off.
    """
    return max(map(abs, tradeoff.values())) > SAYS_NOTHING


def turned_range(poses: Poses) -> TurnedRange:
    """Tell how far the head turns."""
    ends = [tuple(np.percentile(angles, [2.5, 97.5]).tolist()) for angles in camera_angles(poses)]
    return TurnedRange(*ends)


def camera_angles(poses: Poses) -> tuple[np.ndarray, np.ndarray]:
    """Return yaw and pitch [F] in degrees against the ray to the camera, signed as in `TurnedRange`."""
    # Where the camera is, seen from the head.
    x, y, z = -np.einsum("fji,fj->if", poses.rotations, poses.translations)
    return np.rad2deg(np.arctan2(-x, z)), np.rad2deg(np.arctan2(-y, np.hypot(x, z)))


def verdict(turned: TurnedRange) -> str:
    """Say in one line what the clip's turns allow."""
    low, high = turned.yaw
    if high - low < _SMALL_TURN:
        return f"turns by {high - low:.0f} degrees: side views will show an average profile; {_ADVICE}"
    turns = f"turns by {low:.0f} to {high:.0f} degrees"
    if -low < _GOOD_SIDE or high < _GOOD_SIDE:
        # A head that turns to the image's right shows its own right side.
        side = "left" if high < -low else "right"
        return f"{turns}: shows hardly more than the {side} side; {_ADVICE}"
    return f"{turns}: both sides are seen"


def _gaps(pixels: np.ndarray, up: np.ndarray) -> np.ndarray:  # [F]
    """Of an upper and a lower point [F, 2, 2] along a direction [F, 2]."""
    return abs(((pixels[:, 0] - pixels[:, 1]) * up).sum(axis=-1))


def _chunks(count: int) -> list[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]
