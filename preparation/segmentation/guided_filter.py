"""A coarse matte fitted to the colours of its frame, which puts the edge where the picture has one.

The guided filter of He et al. 2013: in every window the matte is a linear function of the colour.
"""

import cv2
import numpy as np

# Share of the frame's shorter side, of half a window.
GUIDED_RADIUS = 0.015
# Squared intensity, in [0, 1]: contrast below its root is smoothed over.
GUIDED_EPSILON = 2e-4
# The filter softens edges; this undoes it. Mean error against IS-Net mattes of two clips, with and without
# the gain: 0.0047 and 0.0075 (0.0059 before the filter), 0.0041 and 0.0059 (0.0052).
EDGE_GAIN = 1.7

# The entries of a symmetric 3 x 3 matrix, by row and column.
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def refine(coarse: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Fit a matte [h, w] to the colours of a frame [H, W, 3] uint8; returns [H, W] float32 in [0, 1].

    The linear models are found at half size and applied at full size (He and Sun 2015).
    """
    height, width = frame.shape[:2]
    half = (max(1, width // 2), max(1, height // 2))
    guide = cv2.resize(frame, half, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    matte = cv2.resize(coarse.astype(np.float32), half, interpolation=cv2.INTER_LINEAR)
    radius = max(1, round(GUIDED_RADIUS * min(half)))
    slopes, offset = _guided_models(guide, matte, radius)
    slopes = cv2.resize(slopes, (width, height), interpolation=cv2.INTER_LINEAR)
    offset = cv2.resize(offset, (width, height), interpolation=cv2.INTER_LINEAR)
    fitted = np.einsum("hwc,hwc->hw", slopes, frame.astype(np.float32) / 255) + offset
    return np.clip((fitted - 0.5) * EDGE_GAIN + 0.5, 0, 1)


def _guided_models(guide: np.ndarray, target: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Local linear models of the target [h, w] in the guide's colours: slopes [h, w, 3], offsets [h, w]."""
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, window, borderType=cv2.BORDER_REFLECT)

    color, level = mean(guide), mean(target)
    covariance = mean(guide * target[..., None]) - color * level[..., None]  # [h, w, 3]
    products = np.stack([guide[..., i] * guide[..., j] for i, j in _PAIRS], axis=-1)
    rr, rg, rb, gg, gb, bb = np.moveaxis(
        np.dstack([mean(products[..., :3]), mean(products[..., 3:])])
        - np.stack([color[..., i] * color[..., j] for i, j in _PAIRS], axis=-1),
        -1,
        0,
    )
    rr, gg, bb = rr + GUIDED_EPSILON, gg + GUIDED_EPSILON, bb + GUIDED_EPSILON
    # The inverse of a symmetric 3 x 3 matrix, by cofactors.
    c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = rr * c_rr + rg * c_rg + rb * c_rb
    r, g, b = np.moveaxis(covariance, -1, 0)
    slopes = np.stack(
        [c_rr * r + c_rg * g + c_rb * b, c_rg * r + c_gg * g + c_gb * b, c_rb * r + c_gb * g + c_bb * b],
        axis=-1,
    )
    slopes /= determinant[..., None]
    offset = level - (slopes * color).sum(axis=-1)
    return mean(slopes), mean(offset)
