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

MODES = ("image", "depth", "alpha", "ellipsoids", "scaffold")
ENCODINGS = ("jpeg", "png")
# Bytes; a minute of film is about 3 MB.
LARGEST_MESSAGE = 8 << 20
SMALLEST_SIDE, LARGEST_SIDE = 16, 2048
MOST_FRAMES = 3_000
# Of a coefficient; ARKit's are between 0 and 1.
LARGEST_COEFFICIENT = 10.0
MOST_COEFFICIENTS = 1_000
# World units.
FARTHEST = 1e3
# By how much a rotation may miss to be one.
_ROTATION_TOLERANCE = 1e-3


class BadMessage(ValueError):
    """A message that is not as it should be: the text names the field, what was expected and what was
    there."""


@dataclass(frozen=True)
class Look:
    """How avatars are to be drawn, whatever the view."""

    avatars: tuple[int, ...]
    mode: str
    # None: transparent.
    background: tuple[float, float, float] | None


@dataclass(frozen=True)
class Moment:
    """From where, and with which face: coefficients by name; those that are left out are at rest."""

    camera: Camera
    expression: dict[str, float]


@dataclass(frozen=True)
class Draw:
    """Ask for one picture of each avatar. A later one of the same page takes its place."""

    id: int
    look: Look
    moment: Moment
    encoding: str


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


Message = Draw | Record | Cancel | Pause


def parse(text: str | bytes, num_avatars: int) -> Message:
    """Read a message of a page. Raises BadMessage."""
    if isinstance(text, bytes):
        raise BadMessage("expected JSON as text, found bytes")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("expected JSON") from None
    if not isinstance(content, dict):
        raise BadMessage(f"expected a JSON object, found {_kind(content)}")
    kind = content.get("type")
    if kind == "draw":
        encoding = _one_of(content, "encoding", ENCODINGS)
        number = _whole(content, "id", 0, 2**53)
        return Draw(number, _look(content, num_avatars), _moment(content), encoding)
    if kind == "record":
        fps = _number(content, "fps", 1, 120)
        return Record(_look(content, num_avatars), _moments(content), fps)
    if kind == "cancel":
        return Cancel()
    if kind == "pause":
        if not isinstance(paused := content.get("paused"), bool):
            raise BadMessage(f"paused: expected true or false, found {_kind(paused)}")
        return Pause(paused)
    raise BadMessage(f"type: expected draw, record, cancel or pause, found {_shown(kind)}")


def picture_message(header: dict[str, Any], picture: bytes) -> bytes:
    """A picture with what is to be known of it."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "little") + text + picture


def _look(content: dict, num_avatars: int) -> Look:
    chosen = content.get("avatars")
    if not isinstance(chosen, list) or not chosen or len(chosen) > num_avatars:
        raise BadMessage(f"avatars: expected a list of 1 to {num_avatars} numbers, found {_shown(chosen)}")
    for number in chosen:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < num_avatars:
            raise BadMessage(f"avatars: expected numbers below {num_avatars}, found {_shown(number)}")
    background = content.get("background")
    if background is not None:
        background = tuple(_numbers(content, "background", 3, 0, 1))
    return Look(tuple(chosen), _one_of(content, "mode", MODES), background)


def _moments(content: dict) -> tuple[Moment, ...]:
    frames = content.get("frames")
    if not isinstance(frames, list) or not 0 < len(frames) <= MOST_FRAMES:
        found = f"{len(frames)}" if isinstance(frames, list) else _kind(frames)
        raise BadMessage(f"frames: expected a list of 1 to {MOST_FRAMES}, found {found}")
    moments = []
    for index, frame in enumerate(frames):
        try:
            moments.append(_moment(_object(frame)))
        except BadMessage as error:
            raise BadMessage(f"frames[{index}]: {error}") from None
    if len({(moment.camera.width, moment.camera.height) for moment in moments}) > 1:
        raise BadMessage("frames: expected pictures of one size")
    return tuple(moments)


def _moment(content: dict) -> Moment:
    expression = content.get("expression")
    if not isinstance(expression, dict) or len(expression) > MOST_COEFFICIENTS:
        raise BadMessage(f"expression: expected an object of coefficients by name, found {_kind(expression)}")
    limit = LARGEST_COEFFICIENT
    values = {name: _number(expression, name, -limit, limit, "expression.") for name in expression}
    return Moment(_camera(content), values)


def _camera(content: dict) -> Camera:
    """A camera of the message: world_to_camera as 16 numbers, row by row, OpenCV axes; pixels."""
    try:
        camera = _object(content.get("camera"))
        pose = np.array(_numbers(camera, "world_to_camera", 16, -FARTHEST, FARTHEST)).reshape(4, 4)
        turn = pose[:3, :3]
        is_turn = abs(turn @ turn.T - np.eye(3)).max() < _ROTATION_TOLERANCE and np.linalg.det(turn) > 0
        if not is_turn or pose[3].tolist() != [0, 0, 0, 1]:
            raise BadMessage("world_to_camera: expected a rotation and a shift, row by row")
        sides = [_whole(camera, name, SMALLEST_SIDE, LARGEST_SIDE) for name in ("width", "height")]
        focal = [_number(camera, name, 1, 1e5) for name in ("fx", "fy")]
        middle = [_number(camera, name, -1e5, 1e5) for name in ("cx", "cy")]
    except BadMessage as error:
        raise BadMessage(f"camera: {error}") from None
    return Camera(torch.from_numpy(pose).float(), *focal, *middle, *sides)


def _object(value: Any) -> dict:
    if not isinstance(value, dict):
        raise BadMessage(f"expected an object, found {_kind(value)}")
    return value


def _number(content: dict, name: str, low: float, high: float, where: str = "") -> float:
    return _checked(content.get(name), f"{where}{name}", low, high)


def _whole(content: dict, name: str, low: int, high: int) -> int:
    value = _number(content, name, low, high)
    if value != int(value):
        raise BadMessage(f"{name}: expected a whole number, found {value}")
    return int(value)


def _numbers(content: dict, name: str, count: int, low: float, high: float) -> list[float]:
    values = content.get(name)
    if not isinstance(values, list) or len(values) != count:
        raise BadMessage(f"{name}: expected {count} numbers, found {_kind(values)}")
    return [_checked(value, name, low, high) for value in values]


def _checked(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadMessage(f"{name}: expected a number, found {_kind(value)}")
    # False for what is no number, too.
    if not low <= value <= high:
        raise BadMessage(f"{name}: expected a number from {low:g} to {high:g}, found {_shown(value)}")
    return float(value)


def _one_of(content: dict, name: str, known: tuple[str, ...]) -> str:
    if (value := content.get(name)) not in known:
        raise BadMessage(f"{name}: expected one of {', '.join(known)}, found {_shown(value)}")
    return value


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "nothing"}.get(
        type(value), _shown(value)
    )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
