"""Files that appear under their name only when they are complete."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from utils.errors import UserError

JPEG_QUALITY = 95


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file."""
    _write(path, lambda file: np.savez(file, **arrays))


def write_json(path: Path, document: Any, indent: int | None = None) -> None:
    """Write a JSON file; numbers that are not finite are refused."""
    text = json.dumps(document, indent=indent, allow_nan=False) + "\n"
    _write(path, lambda file: file.write(text.encode()))


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write [H, W, 3] RGB or [H, W], uint8, as the suffix says: .jpg or .png."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
    is_encoded, data = cv2.imencode(path.suffix, pixels, options)
    assert is_encoded, f"the {path.suffix} encoder refused {pixels.dtype} {list(pixels.shape)}"
    _write(path, lambda file: file.write(data.tobytes()))


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


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            write(file)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
