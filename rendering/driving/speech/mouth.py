"""From what the ear tells to ARKit's coefficients: a table made by hand, no network."""

import numpy as np

from rendering.driving.live_link import ARKIT_NAMES
from rendering.driving.speech.features import Features

# How far a talking face goes in ARKit's units: about the 99th percentile of two tracked clips. An avatar
# whose clip shows another range gets that one (`retarget.py`).
REACH = {
    "jawOpen": 0.32,
    "mouthClose": 0.17,
    "mouthFunnel": 0.2,
    "mouthPucker": 0.5,
    "mouthPressLeft": 0.3,
    "mouthPressRight": 0.3,
    "mouthRollLower": 0.25,
    "mouthRollUpper": 0.22,
    "mouthStretchLeft": 0.2,
    "mouthStretchRight": 0.2,
    "mouthSmileLeft": 0.28,
    "mouthSmileRight": 0.28,
    "mouthLowerDownLeft": 0.2,
    "mouthLowerDownRight": 0.2,
    "mouthUpperUpLeft": 0.25,
    "mouthUpperUpRight": 0.25,
    "eyeBlinkLeft": 0.6,
    "eyeBlinkRight": 0.6,
    "eyeLookDownLeft": 0.4,
    "eyeLookDownRight": 0.4,
}


def mouth_shares(found: Features) -> dict[str, np.ndarray]:
    """Of what moves the mouth how much of its REACH, 0 to 1, [T] each; at silence all are 0, which is a shut
    mouth."""
    wide, lips_free = found.spreading, 1 - found.pressing
    shares = {
        "jawOpen": found.openness * (1 - 0.35 * found.rounding) + 0.15 * (found.hissing + wide),
        "mouthPucker": found.rounding * lips_free,
        "mouthFunnel": (0.6 * found.rounding + 0.6 * found.hissing) * lips_free,
        "mouthClose": 0.5 * found.pressing,
        "mouthPress": 0.8 * found.pressing,
        "mouthRollLower": 0.7 * found.pressing,
        "mouthRollUpper": 0.7 * found.pressing,
        "mouthStretch": (0.7 * wide + 0.3 * found.hissing) * lips_free,
        "mouthSmile": 0.5 * wide * lips_free,
        "mouthLowerDown": (0.6 * found.openness + 0.4 * wide + 0.3 * found.hissing) * lips_free,
        "mouthUpperUp": (0.4 * found.openness + 0.3 * wide + 0.4 * found.hissing) * lips_free,
    }
    sided = {f"{name}{side}": share for name, share in shares.items() for side in ("", "Left", "Right")}
    return {name: share.clip(0, 1) for name, share in sided.items() if name in ARKIT_NAMES}
