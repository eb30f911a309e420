"""What a face does besides speaking: blinks, and small turns of the head. Both by a seed."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from rendering.driving.speech.features import FEATURE_RATE, Features

# Seconds. Who talks blinks 15 to 25 times a minute (Bentivoglio et al., Movement Disorders 12, 1997), and no
# sooner than this after the last blink; a lid shuts faster than it opens.
MEAN_BETWEEN_BLINKS, SHORTEST_BETWEEN_BLINKS = 3.2, 0.8
SHUTTING, SHUT, OPENING = 0.08, 0.05, 0.15
# Seconds: eyes that stay open longer look dead.
_LONGEST_GAP = 8.0

# Radians, standard deviations of yaw, pitch and roll, none above twice of that; and how far the head goes
# down where the voice is loud.
_SWAY, _NOD = np.deg2rad([1.6, 0.9, 0.8]), np.deg2rad(1.2)
# Seconds, of the Gaussian that makes noise a slow motion.
_SLOWNESS, _NOD_SLOWNESS = 0.7, 0.22


def blinks(num: int, generator: np.random.Generator) -> np.ndarray:  # [num]
    """How far the eyes are shut, 0 to 1, at FEATURE_RATE: a Poisson process with a dead time."""
    times = np.arange(num) / FEATURE_RATE
    shut = np.zeros(num)
    start = generator.uniform(0, MEAN_BETWEEN_BLINKS)
    while start < num / FEATURE_RATE:
        shut = np.maximum(shut, _lid(times - start))
        gap = generator.exponential(MEAN_BETWEEN_BLINKS - SHORTEST_BETWEEN_BLINKS)
        start += SHORTEST_BETWEEN_BLINKS + min(gap, _LONGEST_GAP)
    return shut


def head_turns(found: Features, strength: float, generator: np.random.Generator) -> np.ndarray:  # [T, 3]
    """Slow yaw, pitch and roll (radians, as in head_angles.py) at FEATURE_RATE, times `strength`."""
    num = len(found.loudness)
    sigma = _SLOWNESS * FEATURE_RATE
    # What lies outside of the sound is drawn, too, so that its ends move as its middle does.
    margin = round(4 * sigma)
    noise = generator.standard_normal((num + 2 * margin, 3))
    slow = gaussian_filter1d(noise, sigma, axis=0)[margin : margin + num]
    # White noise has this deviation behind a Gaussian of that width.
    slow *= np.sqrt(2 * sigma * np.sqrt(np.pi))
    angles = _SWAY * 2 * np.tanh(slow / 2)
    angles[:, 1] += _NOD * gaussian_filter1d(found.loudness, _NOD_SLOWNESS * FEATURE_RATE, mode="nearest")
    return strength * angles


def _lid(since: np.ndarray) -> np.ndarray:
    """One blink, at seconds since its start."""
    opening = since - SHUTTING - SHUT
    return np.where(
        since < SHUTTING + SHUT, _smooth_step(since / SHUTTING), 1 - _smooth_step(opening / OPENING)
    )


def _smooth_step(x: np.ndarray) -> np.ndarray:
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)
