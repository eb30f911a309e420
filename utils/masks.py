"""Masks [H, W] of bool grown and shrunk by a distance, exactly (Euclidean), on the CPU.

The border of the image is no border of the mask: a person cut off by it is not eroded there.
"""

import cv2
import numpy as np

# Radii are told in pixels of an image of this width.
REFERENCE_WIDTH = 512


def scaled_radius(radius: float, width: int) -> float:
    """Turn a radius in pixels of an image 512 wide into one in pixels of an image `width` wide."""
    return radius * width / REFERENCE_WIDTH


def eroded(mask: np.ndarray, radius: float) -> np.ndarray:
    """Keep the pixels whose distance to the nearest pixel outside is more than `radius` pixels."""
    return _distance_to(~mask) > radius


def dilated(mask: np.ndarray, radius: float) -> np.ndarray:
    """Add the pixels whose distance to the mask is at most `radius` pixels."""
    return _distance_to(mask) <= radius


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """Distance [H, W] (float32) of each pixel's centre to the nearest centre in the mask."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
