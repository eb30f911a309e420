"""The head model drawn over a frame, half transparent: does it sit where the head is?

Parts have colours of their own, brighter where they face the camera; lines run along the silhouette,
between parts, and where a nearer part covers a farther one. Irises and pupils show the gaze.
"""

import cv2
import numpy as np

from parametric_head.drawing import Drawn, draw_mesh, interpolate
from parametric_head.landmarks import IRIS_RADIUS
from parametric_head.mesh import vertex_normals
from parametric_head.model import ParametricHead
from parametric_head.person import EYEBALLS
from parametric_head.zones import NECK_END
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from preparation.report.head_measures import camera_angles
from preparation.segmentation.head_parsing import JAW_LINE

_SKIN, _EARS, _NECK = (90, 170, 255), (255, 150, 60), (110, 200, 120)
_EYEBALL, _IRIS, _PUPIL = (250, 250, 250), (40, 90, 220), (0, 0, 0)
_COLORS = {
    "face": _SKIN,
    "head_neck": _NECK,
    "mouth_socket": (120, 30, 50),
    "eye_socket_left": (120, 60, 60),
    "eye_socket_right": (120, 60, 60),
    "gums_tongue": (220, 70, 110),
    "teeth": (255, 250, 150),
    "eyeball_left": _EYEBALL,
    "eyeball_right": _EYEBALL,
}
_LINE = (255, 255, 255)
_LINE_OPACITY = 0.8
# Pixels: softens the steps of the lines.
_LINE_BLUR = 0.6
# Of the mesh's colour in the picture; small things that are looked for cover more.
_OPACITY, _SMALL_PARTS_OPACITY = 0.45, 0.8
# Of the lit and of the ambient light.
_LIGHT = (0.65, 0.35)
# Of an iris's radius.
_PUPIL_SIZE = 0.4
# On the mean head, cm. The ear from where the jaw's line begins at its front: behind, not farther inwards,
# not farther up than so much.
_EAR_BEHIND, _EAR_INWARDS, _EAR_UP = 1.5, 0.2, 1.0
# Head units between neighbouring pixels: one covers the other.
_STEP = 0.02


def draw_overlay(
    frame: np.ndarray,  # [H, W, 3] uint8
    vertices: np.ndarray,  # [V, 3] camera coordinates, head units
    head: ParametricHead,
    camera: Camera,
) -> np.ndarray:  # [H, W, 3] uint8
    """Draw the mesh of a person over a frame."""
    drawn = _drawn(vertices, head, camera, frame.shape[:2])
    part = _parts(drawn, head)  # [H, W]
    color, is_small = _paint(drawn, part, head)
    normals = interpolate(drawn, head.triangles, vertex_normals(vertices, head.triangles))
    facing = abs(normals[..., 2:]) / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    lit = color * (_LIGHT[0] * facing + _LIGHT[1])
    opacity = np.where(is_small, _SMALL_PARTS_OPACITY, _OPACITY)[..., None] * (part >= 0)[..., None]
    mixed = frame * (1 - opacity) + lit * opacity
    lines = cv2.GaussianBlur(_lines(drawn, part).astype(np.float32), (0, 0), _LINE_BLUR)[..., None]
    return (
        np.clip(mixed + _LINE_OPACITY * lines * (np.float32(_LINE) - mixed), 0, 255).round().astype(np.uint8)
    )


def overlay_frames(poses: Poses, mouth_open: np.ndarray | None = None) -> dict[str, int]:
    """Choose the frames that tell most: what they show, and their rows.

    mouth_open: how far, [F]. A frame that is already there is left out.
    """
    yaw, pitch = camera_angles(poses)
    choices = {
        "front": np.hypot(yaw - np.median(yaw), pitch - np.median(pitch)).argmin(),
        "most to the left": yaw.argmin(),
        "most to the right": yaw.argmax(),
        "most upwards": pitch.argmax(),
        "most downwards": pitch.argmin(),
    }
    if mouth_open is not None:
        choices["mouth most open"] = mouth_open.argmax()
    found: dict[str, int] = {}
    for label, row in choices.items():
        if int(row) not in found.values():
            found[label] = int(row)
    return found


def _drawn(vertices: np.ndarray, head: ParametricHead, camera: Camera, shape: tuple[int, int]) -> Drawn:
    """Draw the mesh without its shoulders, which are not fitted."""
    drawn = draw_mesh(vertices, head.triangles, camera.focal, camera.center, shape[::-1])
    height = interpolate(drawn, head.triangles, head.neutral[:, 1:2])[..., 0]
    is_shown = (drawn.triangle >= 0) & (height > NECK_END)
    return drawn._replace(
        triangle=np.where(is_shown, drawn.triangle, -1), depth=np.where(is_shown, drawn.depth, np.inf)
    )


def _parts(drawn: Drawn, head: ParametricHead) -> np.ndarray:  # [H, W]
    """Indices of part_names; -1 where there is no mesh."""
    return np.where(drawn.triangle >= 0, head.triangle_part[drawn.triangle].astype(np.int64), -1)


def _paint(drawn: Drawn, part: np.ndarray, head: ParametricHead) -> tuple[np.ndarray, np.ndarray]:
    """Colours [H, W, 3] without light, and what is drawn stronger [H, W]."""
    # Places on the mean head tell ears from cheeks, and iris from white, however the mesh is deformed.
    place = interpolate(drawn, head.triangles, head.neutral)  # [H, W, 3] cm
    colors = np.array([_COLORS[name] for name in head.part_names], np.float32)
    color = colors[part]
    is_ear, is_neck = _ears_and_neck(place, head)
    is_face = part == head.part_names.index("face")
    color[is_face & is_neck] = _NECK
    color[is_face & is_ear] = _EARS
    is_small = part >= head.part_names.index("mouth_socket")
    for name, (start, stop) in zip(EYEBALLS, head.sclera_iris_ranges[[0, 2]], strict=True):
        # The foremost point of the outer mesh is the pupil's, which covers the iris as a cornea does.
        pupil = head.neutral[start + head.neutral[start:stop, 2].argmax()]
        distance = np.linalg.norm(place[..., :2] - pupil[:2], axis=-1)
        is_front = (part == head.part_names.index(name)) & (place[..., 2] > pupil[2] - IRIS_RADIUS)
        color[is_front & (distance < IRIS_RADIUS)] = _IRIS
        color[is_front & (distance < _PUPIL_SIZE * IRIS_RADIUS)] = _PUPIL
    return color, is_small


def _ears_and_neck(place: np.ndarray, head: ParametricHead) -> tuple[np.ndarray, np.ndarray]:
    """Which places [..., 3] of the mean head's face part are ears, and which lie below the jaw."""
    x, y, z = np.moveaxis(place, -1, 0)
    # iBUG's line from the ear down to the chin.
    jaw = head.neutral[head.landmarks68[:9]]
    ear = jaw[0]
    is_beside = (z < ear[2] - _EAR_BEHIND) & (abs(x) > abs(ear[0]) - _EAR_INWARDS)
    is_ear = is_beside & (y < ear[1] + _EAR_UP) & (y > jaw[4, 1])
    return is_ear, (y < np.interp(z, *JAW_LINE.T)) & ~is_ear


def _lines(drawn: Drawn, part: np.ndarray) -> np.ndarray:  # [H, W] bool
    """Pixels left of or above another part, or a step in depth."""
    depth = np.where(np.isfinite(drawn.depth), drawn.depth, 0)
    lines = np.zeros(part.shape, bool)
    for axis in (0, 1):
        differs = (np.diff(part, axis=axis) != 0) | (abs(np.diff(depth, axis=axis)) > _STEP)
        lines[: differs.shape[0], : differs.shape[1]] |= differs
    return lines
