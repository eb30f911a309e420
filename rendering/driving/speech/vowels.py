"""Which vowel a spectrum resembles.

Templates are computed, not recorded: the mean formants that Peterson and Barney measured of men, women and
children (JASA 24, 1952, table II), through the response of a cascade of resonances (Fant, Acoustic Theory of
Speech Production, 1960) and the tilt of a voice (-12 dB per octave) that leaves a mouth (+6).
"""

from collections.abc import Sequence

import numpy as np
from scipy.fft import dct

from rendering.driving.speech.sound import RATE

# Hertz: first three formants of men, women and children.
FORMANTS = {
    "i": ((270, 2290, 3010), (310, 2790, 3310), (370, 3200, 3730)),
    "e": ((530, 1840, 2480), (610, 2330, 2990), (690, 2610, 3570)),
    "ae": ((660, 1720, 2410), (860, 2050, 2850), (1010, 2320, 3320)),
    "a": ((730, 1090, 2440), (850, 1220, 2810), (1030, 1370, 3170)),
    "o": ((570, 840, 2410), (590, 920, 2710), (680, 1060, 3180)),
    "u": ((300, 870, 2240), (370, 950, 2670), (430, 1170, 3260)),
    "er": ((490, 1350, 1690), (500, 1640, 1960), (560, 1820, 2160)),
    "uh": ((640, 1190, 2390), (760, 1400, 2780), (850, 1590, 3360)),
}
# How round and how spread the lips are in each, 0 to 1.
ROUND = {"u": 1.0, "o": 0.8, "er": 0.3}
SPREAD = {"i": 1.0, "e": 0.6, "ae": 0.4}

# Samples of a window of 32 ms, and what of its spectrum is looked at.
WINDOW = 512
_NUM_BANDS, _BAND_LIMITS, _NUM_CEPSTRA = 24, (100.0, 5000.0), 12
_HIGHER_FORMANTS = (3500.0, 4500.0)
# Below the largest band, which stands for the noise that every recording has.
_FLOOR = 1e-6
# Squared distance of cepstra at which a vowel counts 1 / e of one that fits.
_TOLERANCE = 12.0


def frequencies() -> np.ndarray:  # [K]
    """Hertz of the bins of a window's spectrum."""
    return np.fft.rfftfreq(WINDOW, 1 / RATE)


def resemblance(power: np.ndarray) -> dict[str, np.ndarray]:  # [T, K] -> [T] each
    """How much the spectra resemble each vowel; the vowels' shares add up to 1."""
    names, templates = _templates()
    distance = ((_cepstra(power)[:, None] - templates) ** 2).sum(axis=-1)  # [T, templates]
    weights = np.exp(-(distance - distance.min(axis=1, keepdims=True)) / _TOLERANCE)
    weights /= weights.sum(axis=1, keepdims=True)
    return {vowel: weights[:, [name == vowel for name in names]].sum(axis=1) for vowel in FORMANTS}


def vowel_power(formants: Sequence[float], at: np.ndarray) -> np.ndarray:  # [K] -> [K]
    """The power spectrum of a voice with these formants (hertz), at frequencies above 0."""
    power = (at / 100) ** 2 / (1 + (at / 100) ** 2) ** 2
    for center in (*formants, *_HIGHER_FORMANTS):
        bandwidth = 60 + 0.05 * center
        power = power * center**4 / ((at**2 - center**2) ** 2 + (bandwidth * at) ** 2)
    return power


def _templates() -> tuple[list[str], np.ndarray]:
    """The vowel and the cepstra [.., C] of each template."""
    pairs = [(vowel, formants) for vowel, speakers in FORMANTS.items() for formants in speakers]
    at = np.maximum(frequencies(), 1.0)
    return [vowel for vowel, _ in pairs], _cepstra(np.stack([vowel_power(row, at) for _, row in pairs]))


def _cepstra(power: np.ndarray) -> np.ndarray:  # [.., K] -> [.., C]
    """The shape of the spectra on the ear's scale, without their level."""
    bands = power @ _bands()
    bands = np.log(bands / np.maximum(bands.max(axis=-1, keepdims=True), 1e-20) + _FLOOR)
    return dct(bands, axis=-1, norm="ortho")[..., 1 : 1 + _NUM_CEPSTRA]


def _bands() -> np.ndarray:  # [K, bands]
    """Triangles, even on the mel scale."""
    low, high = (2595 * np.log10(1 + limit / 700) for limit in _BAND_LIMITS)
    edges = 700 * (10 ** (np.linspace(low, high, _NUM_BANDS + 2) / 2595) - 1)
    at = frequencies()[:, None]
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))
