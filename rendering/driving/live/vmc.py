"""Packets of the VMC protocol, OSC over UDP, port 39539: what programs for VTubers send.

    /VMC/Ext/Blend/Val    name, value        repeated, then
    /VMC/Ext/Blend/Apply
    /VMC/Ext/Bone/Pos     bone, position x y z, quaternion x y z w

Values count from Apply on. Bones turn against their parent in Unity's axes: x to the person's own right, y
up, z forward, left-handed; Neck and Head are read. Senders that only know VRM's presets move the mouth by
vowels.
"""

import math
from typing import Any

import numpy as np

from rendering.driving.live.frame import BadPacket, Reading, arkit_name, checked_coefficient
from rendering.driving.live.osc import read_osc

PORT = 39539
_BONES = ("Neck", "Head")
# Different names that one sender uses between two Apply.
_MOST_NAMES = 1_000
# What presets mean in ARKit's coefficients: our choice, no standard.
_PRESETS = {
    "A": {"jawOpen": 0.6},
    "I": {"jawOpen": 0.15, "mouthStretchLeft": 0.6, "mouthStretchRight": 0.6},
    "U": {"jawOpen": 0.15, "mouthPucker": 0.7},
    "E": {"jawOpen": 0.3, "mouthSmileLeft": 0.3, "mouthSmileRight": 0.3},
    "O": {"jawOpen": 0.4, "mouthFunnel": 0.6},
    "BLINK": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "BLINK_L": {"eyeBlinkLeft": 1.0},
    "BLINK_R": {"eyeBlinkRight": 1.0},
    "JOY": {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7},
    "SORROW": {"mouthFrownLeft": 0.6, "mouthFrownRight": 0.6, "browInnerUp": 0.6},
}


class VmcReader:
    """Puts together what comes in many packets."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}
        self._turns: dict[str, np.ndarray] = {}

    def __call__(self, packet: bytes) -> Reading | None:
        """Read one packet; None until values are applied or a bone turns. Raises BadPacket, and then what the
        packet said before the fault has been taken."""
        coefficients, has_turned = {}, False
        for address, values in read_osc(packet):
            if address == "/VMC/Ext/Blend/Val":
                self._note(values)
            elif address == "/VMC/Ext/Blend/Apply":
                coefficients, self._values = _arkit(self._values), {}
            elif address == "/VMC/Ext/Bone/Pos" and values and values[0] in _BONES:
                self._turns[values[0]] = _turn(values)
                has_turned = True
        rotation = None
        if has_turned:
            rotation = np.eye(3)
            for bone in _BONES:
                rotation = rotation @ self._turns.get(bone, np.eye(3))
        return Reading(coefficients, rotation) if coefficients or has_turned else None

    def _note(self, values: tuple[Any, ...]) -> None:
        if len(values) != 2 or not isinstance(values[0], str) or not _is_number(values[1]):
            raise BadPacket("/VMC/Ext/Blend/Val: expected a name and a number")
        name, value = values
        if len(self._values) >= _MOST_NAMES and name not in self._values:
            self._values.clear()
            raise BadPacket(f"more than {_MOST_NAMES} names without /VMC/Ext/Blend/Apply")
        self._values[name] = checked_coefficient(name[:40], float(value))


def _arkit(values: dict[str, float]) -> dict[str, float]:
    """Named values as ARKit's; presets count where a sender has nothing else."""
    known = {arkit: value for name, value in values.items() if (arkit := arkit_name(name)) is not None}
    presets = {name.upper(): value for name, value in values.items() if name.upper() in _PRESETS}
    if known or not presets:
        return known
    # Those of other presets go back to rest.
    mixed = {name: 0.0 for parts in _PRESETS.values() for name in parts}
    for preset, value in presets.items():
        for name, share in _PRESETS[preset].items():
            mixed[name] = min(1.0, mixed[name] + share * value)
    return mixed


def _turn(values: tuple[Any, ...]) -> np.ndarray:  # [3, 3]
    """A bone's rotation in our axes, x to the person's own left: Unity's mirrored in x."""
    if len(values) != 8 or not all(_is_number(value) for value in values[1:]):
        raise BadPacket("/VMC/Ext/Bone/Pos: expected a bone and seven numbers")
    x, y, z, w = (float(value) for value in values[4:])
    length = math.sqrt(x * x + y * y + z * z + w * w) if max(map(abs, (x, y, z, w))) < 1e3 else math.inf
    if not 1e-3 < length < math.inf:
        raise BadPacket("/VMC/Ext/Bone/Pos: expected a quaternion")
    x, y, z, w = x / length, -y / length, -z / length, w / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _is_number(value: Any) -> bool:
    """Whether it is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
