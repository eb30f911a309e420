"""Paths of a camera around the head, and pairs of eyes.

    swing    to either side about the y axis and back
    orbit    once around the y axis
    spiral   a swing that also goes up and down, nearer and farther
    a .json  camera-to-world matrices, OpenGL axes; their intrinsics or the avatar's

But for a file's, a path starts at the typical camera of the clip, is closed, and keeps the origin, which is
the head, at its place in the picture.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from scene.cameras import NEAR, Camera, about_x, about_y, swing_path
from scene.transforms_file import number_of, rigid_matrix, size_of
from utils.errors import UserError

# Of the swing, how far a spiral goes up and down; and by how much of the distance to and fro.
SPIRAL_PITCH, SPIRAL_DISTANCE = 1 / 3, 0.1
# Between the eyes, head units: 6.3 cm.
EYE_DISTANCE = 0.18
INTRINSICS = ("fx", "fy", "cx", "cy", "w", "h")


def camera_path(
    path: str,
    camera: Camera,
    num_frames: int,
    max_yaw: float,
    resize: Callable[[int, int], tuple[int, int]] = lambda width, height: (width, height),
) -> list[Camera]:
    """The cameras of a path by its name, or of a .json, which has as many as it has.

    `max_yaw` is in degrees. `resize` takes the size of a file's pictures to the wanted one; `camera` has that
    already. Raises UserError for a file that is not as described in `read_path`.
    """
    if path == "swing":
        return swing_path(camera, num_frames, max_yaw)
    if path == "orbit":
        return orbit_path(camera, num_frames)
    if path == "spiral":
        return spiral_path(camera, num_frames, max_yaw)
    return read_path(Path(path), camera, resize)


def orbit_path(camera: Camera, num_frames: int) -> list[Camera]:
    """Go once around the world's y axis, at one speed; the frame after the last is the first. Positive yaw
    takes a camera on +z towards +x."""
    return [camera.turned(about_y(-2 * math.pi * i / num_frames)) for i in range(num_frames)]


def spiral_path(camera: Camera, num_frames: int, max_yaw: float) -> list[Camera]:
    """Swing by `max_yaw` (degrees) to either side, a third of it up and down, the distance by a tenth to and
    fro, each a sine, so that the path is smooth and closed."""
    cameras = []
    for i in range(num_frames):
        phase = 2 * math.pi * i / num_frames
        yaw = math.radians(max_yaw) * math.sin(phase)
        pitch = SPIRAL_PITCH * math.radians(max_yaw) * math.sin(2 * phase)
        moved = camera.turned(about_x(pitch) @ about_y(-yaw)).world_to_camera
        # Away from the origin, along the line to it.
        moved[:3, 3] *= 1 + SPIRAL_DISTANCE * math.sin(phase)
        cameras.append(camera.posed(moved))
    return cameras


def read_path(path: Path, camera: Camera, resize: Callable[[int, int], tuple[int, int]]) -> list[Camera]:
    """Read a list of camera-to-world matrices [4, 4] (OpenGL axes), or an object with such `frames`.

    A frame may also be an object with its matrix as `transform_matrix`, so that a transforms.json is a path.
    The object may have all of fx fy cx cy w h (pixels); else those of `camera` hold. Raises UserError.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--path {path}: cannot be read as JSON ({error})") from None
    header = document if isinstance(document, dict) else {}
    entries = header.get("frames") if header else document
    if not isinstance(entries, list) or not entries:
        raise UserError(f"--path {path}: expected a list of camera-to-world matrices, or frames with them")
    given = [key for key in INTRINSICS if key in header]
    if given:
        fx, fy = (number_of(path, header, key, positive=True) for key in ("fx", "fy"))
        cx, cy = (number_of(path, header, key) for key in ("cx", "cy"))
        size = size_of(path, header, "w"), size_of(path, header, "h")
        camera = Camera(torch.eye(4), fx, fy, cx, cy, *size, near=camera.near).scaled(*resize(*size))
    cameras = []
    for i, entry in enumerate(entries):
        key = "transform_matrix"
        frame = entry if isinstance(entry, dict) else {key: entry}
        matrix = rigid_matrix(frame, key, f"{path}: frame {i}: {key if frame is entry else 'matrix'}")
        lens = (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
        cameras.append(Camera.from_camera_to_world(matrix, *lens, near=min(camera.near, NEAR)))
    return cameras


def eye_pair(camera: Camera, distance: float = EYE_DISTANCE) -> tuple[Camera, Camera]:
    """The left and the right eye of a camera between them, `distance` (head units) apart.

    Both look the same way; their principal points are moved so that the head's origin lies where it was in
    both pictures, and so on the screen.
    """
    depth = float(camera.world_to_camera[2, 3])
    eyes = []
    for side in (-1, 1):
        offset = side * distance / 2
        pose = camera.world_to_camera.clone()
        pose[0, 3] -= offset
        eyes.append(replace(camera, world_to_camera=pose, cx=camera.cx + camera.fx * offset / depth))
    return eyes[0], eyes[1]
