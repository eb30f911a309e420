"""Packets of iFacialMocap, UDP port 49983: text.

    eyeBlink_L-40|jawOpen-12|...|=head#rx,ry,rz,px,py,pz|rightEye#rx,ry,rz|leftEye#rx,ry,rz|

Coefficients from 0 to 100; version 2 writes `&` for the `-` before the number and allows negative ones.
Angles are degrees about axes x right, y up, z to the camera, as the head's position in metres has them (it
lies at negative z). Keys may be missing, unknown ones are ignored. Over TCP a frame ends in ___iFacialMocap.
"""

import numpy as np

from rendering.driving.head_angles import rotations_of
from rendering.driving.live.frame import (
    BadPacket,
    Reading,
    arkit_name,
    checked_angles,
    checked_coefficient,
)

PORT = 49983
_END = "___iFacialMocap"
# Degrees.
_LARGEST_ANGLE = 360.0


def read_ifacialmocap(packet: bytes) -> Reading | None:
    """Read one packet; None for one that says nothing of a face. Raises BadPacket."""
    try:
        text = packet.decode("ascii").strip().removesuffix(_END)
    except UnicodeDecodeError:
        raise BadPacket("expected text") from None
    coefficients, rotation = {}, None
    for part in text.split("|"):
        name, is_pose, values = part.strip().partition("#")
        if is_pose:
            if name.lstrip("=") == "head":
                rotation = _rotation(values)
            continue
        if not name:
            continue
        name, value = _named_value(name)
        if (known := arkit_name(name)) is not None:
            coefficients[known] = checked_coefficient(known, value)
    return Reading(coefficients, rotation) if coefficients or rotation is not None else None


def _named_value(part: str) -> tuple[str, float]:
    """Name and value of `jawOpen-12`, `jawOpen&12` or `jawOpen&-3`."""
    separator = "&" if "&" in part else "-"
    name, found, number = part.partition(separator)
    if not found:
        raise BadPacket(f"expected NAME-NUMBER, found {part[:40]!r}")
    return name, _number(name, number) / 100


def _rotation(text: str) -> np.ndarray:
    values = [_number("head", word) for word in text.split(",")[:3]]
    if len(values) < 3:
        raise BadPacket(f"head: expected three angles, found {text[:40]!r}")
    about_x, about_y, about_z = np.deg2rad(checked_angles("head", tuple(values), _LARGEST_ANGLE))
    return rotations_of(np.array([[about_y, about_x, about_z]]))[0]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadPacket(f"{name[:40]}: expected a number, found {text[:40]!r}") from None
