"""Packets as applications write them, made without the readers under test."""

import math
import struct
from collections.abc import Iterator

import numpy as np

from rendering.driving.live_link import ARKIT_NAMES


def ifacialmocap_packet(version: int = 1, head: str = "10,20,-5,0.01,-0.1,-0.6", **percents: int) -> bytes:
    sign = "-" if version == 1 else "&"
    parts = [f"{name}{sign}{value}" for name, value in percents.items()]
    poses = [f"=head#{head}", "rightEye#1,2,3", "leftEye#1,2,3"]
    return "|".join([*parts, *poses, ""]).encode()


def live_link_packet(values: dict[str, float], angles: tuple[float, ...] = (0.0, 0.0, 0.0)) -> bytes:
    name = "téléphone".encode()
    numbers = [values.get(each, 0.0) for each in ARKIT_NAMES] + list(angles) + [0.0] * 6
    return (
        struct.pack("<I", 6)
        + b"$12345678-1234-1234-1234-123456789abc"
        + struct.pack(">i", len(name))
        + name
        + struct.pack(">IfII", 7, 0.25, 60, 1)
        + bytes([61])
        + struct.pack(">61f", *numbers)
    )


def osc_text(text: str) -> bytes:
    data = text.encode() + b"\0"
    return data + b"\0" * (-len(data) % 4)


def osc_message(address: str, *values: str | float) -> bytes:
    types = "," + "".join("s" if isinstance(value, str) else "f" for value in values)
    packed = [osc_text(value) if isinstance(value, str) else struct.pack(">f", value) for value in values]
    return osc_text(address) + osc_text(types) + b"".join(packed)


def osc_bundle(*elements: bytes) -> bytes:
    return b"#bundle\0" + struct.pack(">Q", 1) + b"".join(struct.pack(">i", len(e)) + e for e in elements)


def vmc_packet(turn: tuple[float, float, float, float] | None = None, **values: float) -> bytes:
    """Values and Apply in one bundle, and the head's quaternion (x, y, z, w)."""
    messages = [osc_message("/VMC/Ext/Blend/Val", name, value) for name, value in values.items()]
    if turn is not None:
        messages.append(osc_message("/VMC/Ext/Bone/Pos", "Head", 0.0, 1.5, 0.0, *turn))
    return osc_bundle(*messages, osc_message("/VMC/Ext/Blend/Apply"))


def quaternion(axis: int, angle: float) -> tuple[float, float, float, float]:
    values = [0.0, 0.0, 0.0, math.cos(angle / 2)]
    values[axis] = math.sin(angle / 2)
    return tuple(values)


GOOD = {
    "ifacialmocap": ifacialmocap_packet(jawOpen=40, eyeBlink_L=70),
    "livelink": live_link_packet({"jawOpen": 0.4, "eyeBlinkLeft": 0.7}, (0.1, 0.2, 0.3)),
    "vmc": vmc_packet(quaternion(1, 0.2), jawOpen=0.4, eyeBlinkLeft=0.7),
}


def damaged(packet: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Packets that were cut, lengthened, overwritten, or never were any."""
    generator = np.random.default_rng(seed)
    awkward = [
        b"nan",
        b"inf",
        b"1e999",
        b"\xff\xff\xff\xff",
        b"\x7f\xc0\x00\x00",
        b"\x80\0\0\0",
        b"|#|",
        b"\0",
    ]
    for _ in range(count):
        data = bytearray(packet)
        for _ in range(generator.integers(1, 5)):
            at = int(generator.integers(0, len(data) + 1))
            choice = generator.integers(0, 6)
            if choice == 0:
                data = data[:at]
            elif choice == 1:
                data[at : at + 4] = generator.bytes(4)
            elif choice == 2:
                word = awkward[generator.integers(len(awkward))]
                data[at : at + len(word)] = word
            elif choice == 3:
                data[at:at] = data[: generator.integers(0, 80)]
            elif choice == 4:
                data = bytearray(generator.bytes(int(generator.integers(0, 400))))
            else:
                data += bytes(int(generator.integers(0, 9)))
        yield bytes(data)
