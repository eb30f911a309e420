"""Packets of Live Link Face, UDP port 11111, version 6.

    u32 little endian 6; `$` and 36 characters of a uuid; i32 big endian length, the device's name in UTF-8;
    u32 frame, f32 sub-frame, u32 frames per second, u32 denominator (big endian); u8 61; 61 f32 big endian

The 61 values are ARKit's 52 in the order of the CSV, then head and eye angles, in radians.
"""

import struct

import numpy as np

from rendering.driving.head_angles import rotations_of
from rendering.driving.live.frame import BadPacket, Reading, checked_angles, checked_coefficient
from rendering.driving.live_link import ARKIT_NAMES, HEAD_ANGLES

PORT = 11111
VERSION = 6
NUM_VALUES = 61
# Of the uuid, with its dollar sign; of the frame's time.
_UUID_BYTES, _TIME_BYTES = 37, 16
_LONGEST_NAME = 256
# Radians; values are documented nowhere, and degrees would be far beyond.
_LARGEST_ANGLE = 2 * np.pi


def read_live_link_packet(packet: bytes) -> Reading | None:
    """Read one packet; None for one without values: no face is seen. Raises BadPacket."""
    at = 4 + _UUID_BYTES
    if len(packet) < at + 4 or struct.unpack_from("<I", packet)[0] != VERSION or packet[4:5] != b"$":
        raise BadPacket(f"expected version {VERSION} of Live Link Face")
    (name_length,) = struct.unpack_from(">i", packet, at)
    if not 0 <= name_length <= _LONGEST_NAME:
        raise BadPacket(f"expected a device's name of at most {_LONGEST_NAME} bytes, found {name_length}")
    at += 4 + name_length + _TIME_BYTES
    if len(packet) == at:
        return None
    if len(packet) < at + 1:
        raise BadPacket(f"expected at least {at} bytes, found {len(packet)}")
    count, at = packet[at], at + 1
    if count == 0 and len(packet) == at:
        return None
    if count != NUM_VALUES or len(packet) != at + 4 * NUM_VALUES:
        found = f"{count} and {len(packet) - at} bytes"
        raise BadPacket(f"expected {NUM_VALUES} values in {4 * NUM_VALUES} bytes, found {found}")
    values = struct.unpack_from(f">{NUM_VALUES}f", packet, at)
    coefficients = {
        name: checked_coefficient(name, value) for name, value in zip(ARKIT_NAMES, values, strict=False)
    }
    angles = values[len(ARKIT_NAMES) :][: len(HEAD_ANGLES)]
    rotation = rotations_of(np.array([checked_angles("head", angles, _LARGEST_ANGLE)]))[0]
    return Reading(coefficients, rotation)
