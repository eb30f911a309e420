"""The colours of hair, skin and clothes, as histograms that are learned from some frames of a clip."""

import cv2
import numpy as np

KINDS = ("hair", "skin", "clothes")
# Bins of a histogram, per channel.
_BINS = 12


class LearnedColors:
    """Counts of RGB colours by kind."""

    def __init__(self) -> None:
        self._counts = {kind: np.zeros((_BINS,) * 3, np.float32) for kind in KINDS}

    def learn(self, frame: np.ndarray, regions: dict[str, np.ndarray]) -> None:
        """Count the colours of a frame [H, W, 3] uint8 in the region [H, W] bool of each kind."""
        for kind, region in regions.items():
            self._counts[kind] += cv2.calcHist(
                [frame], [0, 1, 2], region.astype(np.uint8), [_BINS] * 3, [0, 256] * 3
            )

    def posteriors(self, frame: np.ndarray, kinds: tuple[str, ...]) -> tuple[np.ndarray, ...]:  # [H, W] each
        """How sure a colour is of these kinds, if all kinds are equally frequent."""
        table = self._shares()
        table /= table.sum(axis=-1, keepdims=True) + 1e-7
        bins = _bins(frame)
        return tuple(table[..., KINDS.index(kind)].ravel()[bins] for kind in kinds)

    def log_likelihoods(self, frame: np.ndarray, floor: float) -> np.ndarray:  # [H, W, 3]
        """Log of the share that a pixel's colour has of each kind's counts; at least log(floor)."""
        table = np.log(self._shares() + np.float32(floor)).reshape(-1, len(KINDS))
        return table[_bins(frame)]

    def _shares(self) -> np.ndarray:  # [B, B, B, K]
        return np.stack([_spread(self._counts[kind]) for kind in KINDS], axis=-1)


def _bins(frame: np.ndarray) -> np.ndarray:  # [H, W] int32
    levels = (np.arange(256) * _BINS // 256).astype(np.int32)
    red, green, blue = (levels[frame[..., channel]] for channel in range(3))
    return (red * _BINS + green) * _BINS + blue


def _spread(counts: np.ndarray) -> np.ndarray:
    """A histogram as shares, blurred by a bin along each axis; black does not run into white."""
    for axis in range(3):
        counts = np.moveaxis(counts, axis, 0)
        blurred = counts.copy()
        blurred[1:] += 0.5 * counts[:-1]
        blurred[:-1] += 0.5 * counts[1:]
        counts = np.moveaxis(blurred, 0, axis)
    return counts / max(float(counts.sum()), 1.0)
