"""What a page and the server tell each other; docs/viewer.md has it in words.

A page sends JSON objects whose `type` names a class here; `parse` checks every number of them, since anybody
may send anything. The server answers in JSON too, and with pictures: a length (4 bytes, little endian), that
many bytes of JSON, and a PNG or JPEG.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scene.cameras import Camera
from viewing import checks

MODES = ("image", "depth", "alpha", "ellipsoids", "scaffold")
ENCODINGS = ("jpeg", "png")
# Which of an avatar's forms is drawn; the light one, where it is there, takes a third of the time.
FORMS = ("full", "light")
# Bytes; a minute of film is about 3 MB.
LARGEST_MESSAGE = 8 << 20
SMALLEST_SIDE, LARGEST_SIDE = 16, 2048
MOST_FRAMES = 3_000
LARGEST_ID = 2**53
# Of a coefficient; ARKit's are between 0 and 1.
LARGEST_COEFFICIENT = 10.0
MOST_COEFFICIENTS = 1_000
# World units.
FARTHEST = 1e3
# By how much a rotation may miss to be one.
_ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Look:
    """How avatars are to be drawn, whatever the view."""

    avatars: tuple[int, ...]
    mode: str
    # None: transparent.
    background: tuple[float, float, float] | None
    form: str = "full"


@dataclass(frozen=True)
class Moment:
    """From where, and with which face: coefficients by name; those that are left out are at rest."""

    camera: Camera
    expression: dict[str, float]
    # [3, 3] how the head is turned, in the axes (OpenGL) of the clip's camera; None: its pose is not known.
    turn: np.ndarray | None = None


@dataclass(frozen=True)
class Draw:
    """Ask for one picture of each avatar. A later one of the same page takes its place."""

    id: int
    look: Look
    moment: Moment
    encoding: str
    # The number of the live face that is to be seen, for its latency.
    live: int | None = None


@dataclass(frozen=True)
class Record:
    """Ask for a film, one frame for each moment, avatars side by side."""

    look: Look
    moments: tuple[Moment, ...]
    fps: float


@dataclass(frozen=True)
class Cancel:
    """Give up the film that is being made for this page."""


@dataclass(frozen=True)
class Pause:
    """Hold a training run between two iterations, or let it go on."""

    paused: bool


@dataclass(frozen=True)
class Calibrate:
    """Take the live face as it is now for neutral; or forget that."""

    reset: bool


Message = Draw | Record | Cancel | Pause | Calibrate


def parse(text: str | bytes, num_avatars: int) -> Message:
    """Read a message of a page. Raises BadMessage."""
    content = checks.parsed(text)
    kind = content.get("type")
    if kind == "draw":
        encoding = checks.one_of(content, "encoding", ENCODINGS)
        number = checks.whole(content, "id", 0, LARGEST_ID)
        live = None if content.get("live") is None else checks.whole(content, "live", 0, LARGEST_ID)
        return Draw(number, _look(content, num_avatars), _moment(content), encoding, live)
    if kind == "record":
        fps = checks.number(content, "fps", 1, 120)
        return Record(_look(content, num_avatars), _moments(content), fps)
    if kind == "cancel":
        return Cancel()
    if kind == "pause":
        if not isinstance(paused := content.get("paused"), bool):
            raise checks.BadMessage(f"paused: expected true or false, found {checks.kind_of(paused)}")
        return Pause(paused)
    if kind == "calibrate":
        return Calibrate(checks.one_of(content, "action", ("neutral", "reset")) == "reset")
    found = checks.shown(kind)
    raise checks.BadMessage(f"type: expected draw, record, cancel, pause or calibrate, found {found}")


def picture_message(header: dict[str, Any], picture: bytes) -> bytes:
    """A picture with what is to be known of it."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "little") + text + picture


def _look(content: dict, num_avatars: int) -> Look:
    chosen = content.get("avatars")
    if not isinstance(chosen, list) or not chosen or len(chosen) > num_avatars:
        expected = f"avatars: expected a list of 1 to {num_avatars} numbers"
        raise checks.BadMessage(f"{expected}, found {checks.shown(chosen)}")
    for number in chosen:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < num_avatars:
            found = checks.shown(number)
            raise checks.BadMessage(f"avatars: expected numbers below {num_avatars}, found {found}")
    background = content.get("background")
    if background is not None:
        background = tuple(checks.numbers(content, "background", 3, 0, 1))
    form = checks.one_of(content, "form", FORMS) if "form" in content else "full"
    return Look(tuple(chosen), checks.one_of(content, "mode", MODES), background, form)


def _moments(content: dict) -> tuple[Moment, ...]:
    frames = content.get("frames")
    if not isinstance(frames, list) or not 0 < len(frames) <= MOST_FRAMES:
        found = f"{len(frames)}" if isinstance(frames, list) else checks.kind_of(frames)
        raise checks.BadMessage(f"frames: expected a list of 1 to {MOST_FRAMES}, found {found}")
    moments = []
    for index, frame in enumerate(frames):
        try:
            moments.append(_moment(checks.as_object(frame)))
        except checks.BadMessage as error:
            raise checks.BadMessage(f"frames[{index}]: {error}") from None
    if len({(moment.camera.width, moment.camera.height) for moment in moments}) > 1:
        raise checks.BadMessage("frames: expected pictures of one size")
    return tuple(moments)


def _moment(content: dict) -> Moment:
    expression, turn = coefficients_of(content, "expression"), None
    if content.get("turn") is not None:
        turn = np.array(checks.numbers(content, "turn", 9, -1.001, 1.001)).reshape(3, 3)
        if not _is_rotation(turn):
            raise checks.BadMessage("turn: expected a rotation, row by row")
    return Moment(camera_of(content), expression, turn)


def coefficients_of(content: dict, name: str) -> dict[str, float]:
    """Coefficients by name in a field of a message. Raises BadMessage."""
    found, limit = content.get(name), LARGEST_COEFFICIENT
    if not isinstance(found, dict) or len(found) > MOST_COEFFICIENTS:
        expected = "expected an object of coefficients by name"
        raise checks.BadMessage(f"{name}: {expected}, found {checks.kind_of(found)}")
    return {key: checks.number(found, key, -limit, limit, f"{name}.") for key in found}


def camera_of(content: dict) -> Camera:
    """A camera of the message: world_to_camera as 16 numbers, row by row, OpenCV axes; pixels. Raises
    BadMessage."""
    try:
        camera = checks.as_object(content.get("camera"))
        pose = np.array(checks.numbers(camera, "world_to_camera", 16, -FARTHEST, FARTHEST)).reshape(4, 4)
        if not _is_rotation(pose[:3, :3]) or pose[3].tolist() != [0, 0, 0, 1]:
            raise checks.BadMessage("world_to_camera: expected a rotation and a shift, row by row")
        sides = [checks.whole(camera, name, SMALLEST_SIDE, LARGEST_SIDE) for name in ("width", "height")]
        focal = [checks.number(camera, name, 1, 1e5) for name in ("fx", "fy")]
        middle = [checks.number(camera, name, -1e5, 1e5) for name in ("cx", "cy")]
    except checks.BadMessage as error:
        raise checks.BadMessage(f"camera: {error}") from None
    return Camera(torch.from_numpy(pose).float(), *focal, *middle, *sides)


def _is_rotation(matrix: np.ndarray) -> bool:  # [3, 3]
    return abs(matrix @ matrix.T - np.eye(3)).max() < _ROTATION_TOLERANCE and np.linalg.det(matrix) > 0
