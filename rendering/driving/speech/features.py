"""What the ear tells of the mouth, 100 times a second.

This knows no phonemes and no language. An open mouth lets the first formant rise, so that the level between
550 and 1000 Hz follows the jaw better than loudness does (docs/speech.md has the numbers); vowels tell
rounded from spread lips; hissing is what s, f and sh have; short quiet gaps in speech, and murmurs that have
nothing above the lowest harmonics, are where lips may be pressed together: p, b and m, but t, d and n too.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d

from rendering.driving.speech import vowels
from rendering.driving.speech.sound import RATE, Sound
from utils.progress import track

# Features a second, and samples between two of them.
FEATURE_RATE = 100
HOP = RATE // FEATURE_RATE

_OPEN_BAND, _LOW_BAND, _HISS_BAND = (550.0, 1000.0), (100.0, 400.0), (3500.0, 8000.0)
# Decibels: what a voice does between its loudest and the quietest that still counts.
_RANGE = 30.0
# Above the noise of the recording a voice begins; whose level is that of its quietest 5 %, but no higher than
# this far below the loudest, since some speech has no pause.
_ABOVE_NOISE, _HIGHEST_NOISE = 6.0, 20.0
# Of full scale: quieter recordings are silent.
_SILENCE = -55.0
# Loudness above which somebody speaks.
_SPEAKS = 0.15
# Seconds: lips are pressed in pauses no longer than this, and within this of speech.
_LONGEST_GAP = 0.14
# Decibels by which a murmur's lowest harmonics outdo the open band; vowels as in see and boo do so as well,
# but are louder than this.
_MURMUR, _LOUD_VOWEL = (12.0, 18.0), (0.62, 0.78)
# Seconds: how a mouth blurs what is asked of it. Symmetric, so that nothing comes late.
_BLUR, _PRESS_BLUR = 0.045, 0.025
_FRAMES_AT_ONCE = 4096
# So many times that takes no two seconds, and needs no bar.
_SOON_DONE = 8


class Features(NamedTuple):
    """Each [T], 0 to 1, at FEATURE_RATE; the first at the first sample."""

    openness: np.ndarray
    rounding: np.ndarray
    spreading: np.ndarray
    hissing: np.ndarray
    pressing: np.ndarray
    # Who is silent has 0, and all of the others have 0 too.
    loudness: np.ndarray


class _Spectra(NamedTuple):
    """Of each window the power in decibels of full scale, and what vowel it is; each [T]."""

    total: np.ndarray
    open: np.ndarray
    low: np.ndarray
    hiss: np.ndarray
    rounding: np.ndarray
    spreading: np.ndarray


def features(sound: Sound, quiet: bool = True) -> Features:
    """Listen to a sound; `quiet`: without a line on progress."""
    spectra = _spectra(sound.samples, quiet)
    loudness = _relative(spectra.total)
    voice = loudness * (1 - _ramp(spectra.hiss - spectra.total, -9.0, -2.0))
    openness = _relative(spectra.open) * (loudness > 0)
    speaks = loudness > _SPEAKS
    size = round(_LONGEST_GAP * FEATURE_RATE)
    # Closing: pauses that are shorter than the filter are bridged.
    bridged = minimum_filter1d(maximum_filter1d(speaks.astype(float), size), size)
    gap = bridged * (1 - _ramp(loudness, _SPEAKS, 3 * _SPEAKS))
    is_muffled = _ramp(spectra.low - spectra.open, *_MURMUR)
    murmur = (voice > _SPEAKS) * is_muffled * (1 - _ramp(loudness, *_LOUD_VOWEL))
    pressing = np.maximum(gap, murmur)
    return Features(
        openness=_blurred(openness * (1 - pressing)),
        rounding=_blurred(voice * spectra.rounding),
        spreading=_blurred(voice * spectra.spreading),
        hissing=_blurred(loudness - voice),
        pressing=_blurred(pressing, _PRESS_BLUR),
        loudness=_blurred(loudness),
    )


def _spectra(samples: np.ndarray, quiet: bool) -> _Spectra:
    """Windows centred on multiples of HOP samples."""
    half = vowels.WINDOW // 2
    padded = np.pad(samples.astype(np.float64), (half, half))
    windows = np.lib.stride_tricks.sliding_window_view(padded, vowels.WINDOW)[::HOP]  # [T, W]
    taper = np.hanning(vowels.WINDOW)
    # A sine of full scale has the power 1/2, so -3 dB.
    scale = 2 / (vowels.WINDOW * (taper**2).sum())
    at = vowels.frequencies()
    masks = [(at >= low) & (at < high) for low, high in (_OPEN_BAND, _LOW_BAND, _HISS_BAND)]
    parts = []
    starts = range(0, len(windows), _FRAMES_AT_ONCE)
    is_soon_done = len(starts) <= _SOON_DONE
    for start in track(starts, len(starts), "listening", quiet=quiet or is_soon_done):
        power = scale * np.abs(np.fft.rfft(windows[start : start + _FRAMES_AT_ONCE] * taper)) ** 2  # [t, K]
        shares = vowels.resemblance(power)
        lips = [
            sum(weight * shares[vowel] for vowel, weight in table.items())
            for table in (vowels.ROUND, vowels.SPREAD)
        ]
        bands = [power.sum(axis=1), *(power[:, mask].sum(axis=1) for mask in masks)]
        parts.append([*(10 * np.log10(band + 1e-12) for band in bands), *lips])
    return _Spectra(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _relative(level: np.ndarray) -> np.ndarray:  # [T] dB -> [T]
    """A level between the quietest of a voice and its loudest in this recording, as 0 to 1."""
    loudest = np.percentile(level, 97)
    if loudest < _SILENCE:
        return np.zeros_like(level)
    noise = min(np.percentile(level, 5) + _ABOVE_NOISE, loudest - _HIGHEST_NOISE)
    return _ramp(level, max(noise, loudest - _RANGE), loudest)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((values - low) / (high - low)).clip(0, 1)


def _blurred(values: np.ndarray, seconds: float = _BLUR) -> np.ndarray:
    return gaussian_filter1d(values, seconds * FEATURE_RATE, mode="nearest")
