"""Image files and .npz files; they appear under their name only when they are complete."""

from pathlib import Path

import cv2
import numpy as np

from utils.errors import UserError
from utils.files import replacing, write_bytes

JPEG_QUALITY = 95


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file."""
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write [H, W, 3] RGB or [H, W], uint8, as the suffix says: .jpg or .png."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
    is_encoded, data = cv2.imencode(path.suffix, pixels, options)
    assert is_encoded, f"the {path.suffix} encoder refused {pixels.dtype} {list(pixels.shape)}"
    write_bytes(path, data.tobytes())


def read_image(path: Path, mode: int = cv2.IMREAD_COLOR) -> np.ndarray:  # [H, W, 3 or 4] or [H, W] uint8
    """Read an image, RGB or RGBA or gray; `mode` is OpenCV's. Raises UserError."""
    try:
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), mode)
    except (OSError, cv2.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if pixels is None:
        raise UserError(f"{path}: cannot be decoded")
    if pixels.ndim == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return pixels
