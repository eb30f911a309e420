"""Packets of OSC 1.0 (Open Sound Control): messages, alone or in bundles.

A message is an address, a comma with one letter for each value, and the values; texts end in zeros and fill
multiples of 4 bytes; numbers are big endian.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from rendering.driving.live.frame import BadPacket

# Bundles in bundles.
_DEEPEST = 4
_BUNDLE = b"#bundle\0"
# After the marker comes a time tag, at which nobody here waits.
_BUNDLE_HEADER = 16
_NUMBERS = {"i": ">i", "f": ">f", "h": ">q", "d": ">d", "t": ">Q", "c": ">I", "r": ">I", "m": ">I"}
_CONSTANTS = {"T": True, "F": False, "N": None, "I": float("inf")}


class Message(NamedTuple):
    """An address and its values: int, float, str, bytes, bool or None."""

    address: str
    values: tuple[Any, ...]


def read_osc(packet: bytes, depth: int = 0) -> Iterator[Message]:
    """The messages of a packet, in order. Raises BadPacket."""
    if not packet.startswith(_BUNDLE):
        yield _message(packet)
        return
    if depth >= _DEEPEST:
        raise BadPacket(f"bundles: expected at most {_DEEPEST} in each other")
    at = _BUNDLE_HEADER
    if len(packet) < at:
        raise BadPacket("a bundle ends in its header")
    while at < len(packet):
        (size,) = _unpacked(">i", packet, at)
        at += 4
        if not 0 < size <= len(packet) - at:
            raise BadPacket(f"an element of {size} bytes: expected 1 to {len(packet) - at}")
        yield from read_osc(packet[at : at + size], depth + 1)
        at += size


def _message(packet: bytes) -> Message:
    address, at = _text(packet, 0)
    if not address.startswith("/"):
        raise BadPacket(f"expected an address, found {address[:40]!r}")
    if at == len(packet):
        # Old senders leave the types out where there are no values.
        return Message(address, ())
    types, at = _text(packet, at)
    if not types.startswith(","):
        raise BadPacket(f"{address[:40]}: expected types, found {types[:40]!r}")
    values = []
    for letter in types[1:]:
        if letter in _NUMBERS:
            form = _NUMBERS[letter]
            values += _unpacked(form, packet, at)
            at += struct.calcsize(form)
        elif letter in "sS":
            text, at = _text(packet, at)
            values.append(text)
        elif letter == "b":
            (size,) = _unpacked(">i", packet, at)
            at += 4
            if not 0 <= size <= len(packet) - at:
                raise BadPacket(f"{address[:40]}: a blob of {size} bytes ends outside")
            values.append(packet[at : at + size])
            at += size + -size % 4
        elif letter in _CONSTANTS:
            values.append(_CONSTANTS[letter])
        else:
            raise BadPacket(f"{address[:40]}: unknown type {letter!r}")
    return Message(address, tuple(values))


def _unpacked(form: str, packet: bytes, at: int) -> tuple:
    try:
        return struct.unpack_from(form, packet, at)
    except struct.error:
        raise BadPacket(f"ends at byte {len(packet)}, in the middle of a value") from None


def _text(packet: bytes, at: int) -> tuple[str, int]:
    """A text that begins at a byte, and the byte after it."""
    end = packet.find(b"\0", at)
    if end < 0:
        raise BadPacket("a text without an end")
    try:
        text = packet[at:end].decode("utf-8")
    except UnicodeDecodeError:
        raise BadPacket("a text that is not UTF-8") from None
    return text, min(end + 4 - (end - at) % 4, len(packet))
