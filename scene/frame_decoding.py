"""A frame's files as pixels: picture and matte, composited on the background and resized."""

import cv2
import numpy as np

from scene.clip_checks import matte_defect, refuse_matte
from scene.dataset_readers import FrameRecord
from scene.image_checks import decode_image, head_pixels


def load_frame(
    record: FrameRecord,
    background: np.ndarray,
    size: tuple[int, int],
    only_head: bool,
    check_data: bool = True,
) -> np.ndarray:  # [H, W, 4] uint8
    """Decode a frame and its matte, which the parsing map cuts to the head if so wanted. Raises UserError."""
    rgb = cv2.cvtColor(decode_image(record.image_path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    alpha = decode_image(record.mask_path, cv2.IMREAD_GRAYSCALE)
    if check_data and (defect := matte_defect(int(alpha.max(initial=0)))):
        raise refuse_matte(record.mask_path, defect)
    if only_head:
        alpha = alpha * head_pixels(decode_image(record.parsing_path, cv2.IMREAD_COLOR))
    return composite(rgb, alpha, background, size)


def composite(
    rgb: np.ndarray, alpha: np.ndarray, background: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Blend RGB [h, w, 3] over a background [3] in [0, 1] by alpha [h, w]; return [H, W, 4] with the matte.

    All images are uint8. Blending comes first and in float: a filter on unblended colours would mix the
    old background into the outline. Areas are averaged when shrinking, and rounding to 8 bits happens once.
    """
    if size == (alpha.shape[1], alpha.shape[0]):
        return _composite_as_is(rgb, alpha, background)
    weight = alpha.astype(np.float32)[..., None] / 255  # [h, w, 1]
    rgba = np.empty((*alpha.shape, 4), np.float32)
    rgba[..., :3] = _blended(rgb, weight, background)
    rgba[..., 3] = alpha
    return _rounded(cv2.resize(rgba, size, interpolation=cv2.INTER_AREA))


def _composite_as_is(rgb: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """`composite` without resizing: most pixels are all person or all background, and need no arithmetic."""
    rgba = cv2.merge([*cv2.split(rgb), alpha])
    empty = np.append(_rounded(255 * background.astype(np.float32)), np.uint8(0))  # [4]
    # Whole pixels at a time.
    np.copyto(rgba.view(np.uint32)[..., 0], empty.view(np.uint32), where=alpha == 0)
    is_mixed = (alpha > 0) & (alpha < 255)
    weight = alpha[is_mixed].astype(np.float32)[:, None] / 255
    rgba[is_mixed, :3] = _rounded(_blended(rgb[is_mixed], weight, background))
    return rgba


def _blended(rgb: np.ndarray, weight: np.ndarray, background: np.ndarray) -> np.ndarray:
    return rgb * weight + (255 * background.astype(np.float32)) * (1 - weight)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
