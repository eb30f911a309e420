"""One moment of a performer's face, and what every reader of packets needs."""

import math
from typing import NamedTuple

import numpy as np

from rendering.driving.live_link import ARKIT_NAMES
from rendering.driving.retarget import spelling

# No application sends more of a coefficient, even where it exaggerates.
LARGEST_COEFFICIENT = 10.0
_CANONICAL = {spelling(name): name for name in ARKIT_NAMES}


class BadPacket(ValueError):
    """A packet that is not as its protocol has it."""


class Reading(NamedTuple):
    """What one packet or picture says; what it does not mention stays as it was."""

    # By ARKit's names.
    coefficients: dict[str, float]
    # [3, 3] from the head to the camera, OpenGL axes (x right in the picture, y up, z to the camera).
    rotation: np.ndarray | None = None


class LiveFrame(NamedTuple):
    """A performer's face at one moment."""

    reading: Reading
    # By time.perf_counter(): when the picture was taken, or the packet arrived.
    captured: float
    # Seconds that went by since then, by what was done.
    stages: dict[str, float]


def arkit_name(name: str) -> str | None:
    """ARKit's spelling of eyeBlink_L, EyeBlinkLeft and the like; None for what ARKit does not have."""
    return _CANONICAL.get(spelling(name))


def checked_coefficient(name: str, value: float) -> float:
    """A value that is one. Raises BadPacket."""
    if not abs(value) <= LARGEST_COEFFICIENT:
        raise BadPacket(f"{name}: expected a number from 0 to 1, found {value:g}")
    return value


def checked_angles(where: str, angles: tuple[float, ...], largest: float) -> tuple[float, ...]:
    """Angles that are numbers within a limit. Raises BadPacket."""
    if not all(math.isfinite(angle) and abs(angle) <= largest for angle in angles):
        raise BadPacket(f"{where}: expected angles up to {largest:g}")
    return angles
