"""What programs say that drive an avatar by `viewer.py --serve`; docs/serve.md has it in words.

JSON objects with a `type`; every number is checked, and a field that is not known is refused: a typing error
that is passed over in silence costs somebody an afternoon.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rendering.driving.head_angles import rotations_of
from scene.cameras import Camera, about_x, about_y
from viewing import checks
from viewing.messages import (
    ENCODINGS,
    FORMS,
    LARGEST_ID,
    LARGEST_SIDE,
    MODES,
    SMALLEST_SIDE,
    camera_of,
    coefficients_of,
)

VERSION = 1


@dataclass(frozen=True)
class Hello:
    """Choose an avatar, and whether pages show what is set here."""

    avatar: int
    show: bool


@dataclass(frozen=True)
class SetCoefficients:
    """Change the face: coefficients by name. `replace`: those that are left out go to rest, else they
    stay."""

    coefficients: dict[str, float]
    replace: bool


@dataclass(frozen=True)
class SetHeadPose:
    """Turn the head from where it looks into the camera; None: as the avatar's clip has it."""

    turn: np.ndarray | None  # [3, 3] OpenGL axes of the camera


@dataclass(frozen=True)
class SetCamera:
    """From where one looks, and on what."""

    # Either a camera of its own, or the clip's from another place: degrees, and how many times nearer.
    camera: Camera | None
    width: int
    height: int
    yaw: float
    pitch: float
    zoom: float
    background: tuple[float, float, float] | None


@dataclass(frozen=True)
class RequestPicture:
    """Ask for a picture of the avatar as it is set now."""

    id: int
    encoding: str
    form: str
    mode: str


ApiMessage = Hello | SetCoefficients | SetHeadPose | SetCamera | RequestPicture

_FIELDS = {
    "hello": {"version", "avatar", "show"},
    "set_coefficients": {"coefficients", "replace"},
    "set_head_pose": {"yaw", "pitch", "roll"},
    "set_camera": {"camera", "width", "height", "yaw", "pitch", "zoom", "background"},
    "request_picture": {"id", "encoding", "form", "mode"},
}


def parse_api(text: str | bytes, num_avatars: int) -> ApiMessage:
    """Read a message of a program. Raises BadMessage."""
    content = checks.parsed(text)
    kind = content.get("type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise checks.BadMessage(f"type: expected one of {', '.join(_FIELDS)}, found {checks.shown(kind)}")
    unknown = next((name for name in content if name != "type" and name not in _FIELDS[kind]), None)
    if unknown is not None:
        known = ", ".join(sorted(_FIELDS[kind]))
        raise checks.BadMessage(f"{kind}: no field {checks.shown(unknown)}; known are {known}")
    try:
        return _READERS[kind](content, num_avatars)
    except checks.BadMessage as error:
        raise checks.BadMessage(f"{kind}: {error}") from None


def orbited(camera: Camera, wanted: SetCamera) -> Camera:
    """The clip's camera at another size and place, as the viewer's page turns it: the picture is fitted in
    from above, the head stays where it is."""
    scale = min(wanted.width / camera.width, wanted.height / camera.height)
    room_x, room_y = wanted.width - camera.width * scale, wanted.height - camera.height * scale
    pose = camera.world_to_camera.double().cpu()
    turned = about_x(math.radians(wanted.pitch)) @ pose @ about_y(-math.radians(wanted.yaw))
    turned[:3, 3] = pose[:3, 3] / wanted.zoom
    return Camera(
        turned.float(),
        fx=camera.fx * scale,
        fy=camera.fy * scale,
        cx=camera.cx * scale + room_x / 2,
        # Where there is room, it is above: persons go on downwards.
        cy=camera.cy * scale + room_y,
        width=wanted.width,
        height=wanted.height,
    )


def _hello(content: dict, num_avatars: int) -> Hello:
    if content.get("version", VERSION) != VERSION:
        raise checks.BadMessage(f"version: expected {VERSION}, found {checks.shown(content['version'])}")
    avatar = checks.whole(content, "avatar", 0, num_avatars - 1) if "avatar" in content else 0
    return Hello(avatar, _switch(content, "show", True))


def _set_coefficients(content: dict, num_avatars: int) -> SetCoefficients:
    return SetCoefficients(coefficients_of(content, "coefficients"), _switch(content, "replace", False))


def _set_head_pose(content: dict, num_avatars: int) -> SetHeadPose:
    names = ("yaw", "pitch", "roll")
    if not any(name in content for name in names):
        return SetHeadPose(None)
    angles = [_number(content, name, 0.0, -180, 180) for name in names]
    return SetHeadPose(rotations_of(np.deg2rad([angles]))[0])


def _set_camera(content: dict, num_avatars: int) -> SetCamera:
    camera = camera_of(content) if content.get("camera") is not None else None
    sides = [
        checks.whole(content, name, SMALLEST_SIDE, LARGEST_SIDE) if name in content else 512
        for name in ("width", "height")
    ]
    background = content.get("background", [0, 0, 0])
    if background is not None:
        background = tuple(checks.numbers({"background": background}, "background", 3, 0, 1))
    return SetCamera(
        camera,
        *sides,
        yaw=_number(content, "yaw", 0.0, -180, 180),
        pitch=_number(content, "pitch", 0.0, -90, 90),
        zoom=_number(content, "zoom", 1.0, 0.1, 10),
        background=background,
    )


def _request_picture(content: dict, num_avatars: int) -> RequestPicture:
    return RequestPicture(
        checks.whole(content, "id", 0, LARGEST_ID),
        checks.one_of({"encoding": "jpeg"} | content, "encoding", ENCODINGS),
        checks.one_of({"form": "light"} | content, "form", FORMS),
        checks.one_of({"mode": "image"} | content, "mode", MODES),
    )


def _switch(content: dict, name: str, default: bool) -> bool:
    if not isinstance(value := content.get(name, default), bool):
        raise checks.BadMessage(f"{name}: expected true or false, found {checks.kind_of(value)}")
    return value


def _number(content: dict, name: str, default: float, low: float, high: float) -> float:
    return checks.number(content, name, low, high) if name in content else default


_READERS: dict[str, Any] = {
    "hello": _hello,
    "set_coefficients": _set_coefficients,
    "set_head_pose": _set_head_pose,
    "set_camera": _set_camera,
    "request_picture": _request_picture,
}
