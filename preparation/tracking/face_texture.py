"""The face as a texture: shading taken out, flow between two textures, and what flow says of depth.

What the relief of the landmarks (relief.py) and the head model's atlas (head_fit/atlas.py) have in common:
both lay a face out on a grid of its own plane, x right and y down, with a texel for every place that is seen.
"""

import warnings
from collections.abc import Callable

import cv2
import numpy as np

# Head units, of the window whose mean and contrast are removed.
NORMALIZE_SIGMA = 0.016
# Grey levels: what is flatter is noise.
_LEAST_CONTRAST = 4.0
# Pixels prepared around the face.
_BORDER = 40


def normalized_part(
    frame: np.ndarray, pixels: np.ndarray, focal: float, distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a frame around pixels [T, 2], local mean and contrast removed, and its corner [2].

    frame: [H, W, 3] uint8. distance: of the face, head units.
    """
    height, width = frame.shape[:2]
    left, top = np.clip(pixels.min(0) - _BORDER, 0, [width - 2, height - 2]).astype(int)
    right, bottom = np.clip(pixels.max(0) + _BORDER, [left + 2, top + 2], [width, height]).astype(int)
    part = np.ascontiguousarray(frame[top:bottom, left:right])
    gray = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gray = cv2.GaussianBlur(gray, (0, 0), 1.0)
    sigma = max(2.0, NORMALIZE_SIGMA * focal / distance)
    flat = gray - cv2.GaussianBlur(gray, (0, 0), sigma)
    contrast = np.sqrt(cv2.GaussianBlur(flat * flat, (0, 0), 2 * sigma)) + _LEAST_CONTRAST
    return flat / contrast, np.array([left, top])


def look_up(picture: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bilinear values of a picture [h, w, ...] at its pixels [T, 2], and which are inside [T]."""
    x, y = pixels.T
    is_inside = (x > 1) & (x < picture.shape[1] - 1) & (y > 1) & (y < picture.shape[0] - 1)
    # OpenCV's pixel i has its centre at i.
    return cv2.remap(picture, pixels.astype(np.float32)[None] - 0.5, None, cv2.INTER_LINEAR)[0], is_inside


def facing(normals: np.ndarray, points: np.ndarray, rotation: np.ndarray) -> np.ndarray:  # [T]
    """Cosines between normals [T, 3] of the head and the rays to them, at points [T, 3] of the camera."""
    distance = np.sqrt(np.einsum("tc,tc->t", points, points))
    return -np.einsum("tc,tc->t", normals @ rotation.T, points) / distance


def texture_flow(reference: np.ndarray, other: np.ndarray) -> np.ndarray:  # [H, W] each -> [H, W, 2]
    """Optical flow in texels, right and down, between normalised textures (DIS, Kroeger et al. 2016)."""
    pictures = [np.clip(values * 40 + 128, 0, 255).astype(np.uint8) for values in (reference, other)]
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*pictures, None)


def median_texture(textures: np.ndarray) -> np.ndarray:  # [S, T] -> [T]
    """The median of what was seen; NaN where nothing was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(textures, axis=0)


def hull_mask(polygon: np.ndarray, shape: tuple[int, int], grow: float) -> np.ndarray:  # [H, W] bool
    """The convex hull of texels [N, 2], grown (or, below 0, shrunk) by so many."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [cv2.convexHull(polygon.round().astype(np.int32))], 1)
    size = 2 * round(abs(grow)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return (cv2.dilate if grow > 0 else cv2.erode)(mask, kernel, borderValue=0) > 0


def depth_correction(
    shift: np.ndarray,  # [S, T, 2] head units
    views: np.ndarray,  # [S, 3]
    reach: float,
    trust: float,
    smooth: Callable[[np.ndarray], np.ndarray],
    is_seen: np.ndarray | float = 1.0,  # [S, T]
) -> tuple[np.ndarray, np.ndarray]:
    """Find how far texels must move along z so that less of their shift goes with the views.

    A depth error dz shows as a shift -dz v_xy / v_z, v the direction of view in the head frame; least squares
    over frames, relative to the mean view, which the texture has absorbed. reach: head units beyond which a
    shift counts less and less. trust: squared radians, as if every texel had been seen so often with no
    error. smooth: evens values [T] out over the face. Also returns what each texel was told [T], squared
    radians.
    """
    direction = -views[:, :2] / views[:, 2:]
    direction = direction - direction.mean(axis=0)  # [S, 2]
    weight = is_seen / (1 + (shift**2).sum(-1) / reach**2)
    shift = shift - np.median(shift, axis=0)
    upper = np.einsum("ft,ftc,fc->t", weight, shift, direction)
    told = smooth(np.einsum("ft,fc->t", weight, direction**2))
    return smooth(upper) / (told + trust * smooth(np.ones(len(told)))), told
