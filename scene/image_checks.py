"""Checks of a clip's image files at load time: presence, completeness, size and kind of all, content of a
few.

Headers and end markers only, so that thousands of frames take seconds; see `utils/image_headers.py`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from utils.errors import UserError
from utils.image_headers import check_picture_size, read_image_header

READER_THREADS, FILES_AT_ONCE = 8, 100
# Pure blue, as OpenCV decodes it.
HEAD_COLOR_BGR = (255, 0, 0)
EXPECTED = {
    "image": "expected ori_imgs/<img_id>.jpg or .png for every frame of transforms.json; a clip that lies "
    "elsewhere is named by -s",
    "mask": "expected an 8-bit matte for every frame, mask/<img_id + 1>.png or all of them mask/<img_id>.png",
    "parsing": "--only_head needs a face parsing map of every frame, with the head (hair, face, ears) in "
    "pure blue (0, 0, 255); make them with any face parsing network, or train without --only_head",
}
KIND = {
    "image": "8-bit RGB",
    "mask": "an 8-bit gray matte",
    "parsing": "8-bit RGB with the head in pure blue (0, 0, 255)",
}
UNUSABLE = {"image": (), "mask": ("gray + alpha", "RGBA"), "parsing": ("gray", "gray + alpha")}


def check_image_files(
    images: Sequence[Path], masks: Sequence[Path], parsings: Sequence[Path], size: tuple[int, int]
) -> None:
    """Refuse missing, truncated and wrongly sized files, and parsing maps that select nothing.

    size: width and height that all must have. Raises UserError in one line that names the file.
    """
    groups = {"image": images, "mask": masks, "parsing": parsings}
    for kind, paths in groups.items():
        _refuse_links_out(paths)
        missing = [path for path in paths if not path.is_file()]
        if missing:
            hint = _hint(kind, missing[0], images)
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UserError(f"{missing[0]}: missing{more}; {EXPECTED[kind]}{hint}")
    with ThreadPoolExecutor(READER_THREADS) as pool:
        for kind, paths in groups.items():
            # Many at a time: a file costs less than a task does.
            parts = [paths[i : i + FILES_AT_ONCE] for i in range(0, len(paths), FILES_AT_ONCE)]
            _refuse_first(pool.map(partial(_first_defect, kind, size), parts))
        _refuse_first(pool.map(_empty_parsing, _samples(parsings)))


def _hint(kind: str, missing: Path, images: Sequence[Path]) -> str:
    """What lies there instead of a missing file, for the end of the line."""
    if kind == "image":
        others = sorted(path.name for path in missing.parent.glob("*"))[:1]
        return f"; there is {others[0]}" if others else ""
    if kind == "mask" and not missing.parent.is_dir() and images:
        try:
            if read_image_header(images[0]).channels == "RGBA":
                return (
                    "; the pictures have an alpha channel: write it to mask/ (in INSTA's folders it is "
                    "read by python prepare.py --from insta)"
                )
        except (OSError, ValueError):
            pass
    return ""


def _refuse_links_out(paths: Sequence[Path]) -> None:
    """Refuse links that leave the data: a picture lies in the clip's folder, or where its own one leads."""
    real = {parent: parent.resolve() for parent in {path.parent for path in paths}}
    for path in paths:
        if path.is_symlink():
            target, root = path.resolve(), path.parent.parent.resolve()
            if not any(target.is_relative_to(place) for place in (root, real[path.parent])):
                raise UserError(f"{path}: a link out of the clip's folder, to {target}; copy that file")


def head_pixels(parsing_bgr: np.ndarray) -> np.ndarray:  # [H, W, 3] uint8 -> [H, W] bool
    """Where a parsing map as OpenCV decodes it shows the head."""
    # Ten times as fast as comparing in NumPy.
    return cv2.inRange(parsing_bgr, HEAD_COLOR_BGR, HEAD_COLOR_BGR) > 0


def decode_image(path: Path, mode: int) -> np.ndarray:  # [H, W, 3] BGR or [H, W] uint8
    """Decode a file as stored, whatever its orientation tag says. Raises UserError."""
    try:
        data = path.read_bytes()
        check_picture_size(data)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
    except (OSError, ValueError, cv2.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if pixels is None:
        raise UserError(f"{path}: cannot be decoded; expected a complete JPEG or PNG")
    return pixels


def _refuse_first(defects) -> None:
    for line in defects:
        if line:
            raise UserError(line)


def _samples(paths: Sequence[Path]) -> list[Path]:
    return sorted({paths[0], paths[len(paths) // 2], paths[-1]}) if paths else []


def _first_defect(kind: str, size: tuple[int, int], paths: Sequence[Path]) -> str | None:
    return next(filter(None, (_file_defect(kind, size, path) for path in paths)), None)


def _file_defect(kind: str, size: tuple[int, int], path: Path) -> str | None:
    try:
        header = read_image_header(path)
    except (OSError, ValueError) as error:
        return f"{path}: {error}; expected a complete image"
    if (header.width, header.height) != size:
        expected = f"{size[0]} x {size[1]}, the w x h of transforms.json"
        return f"{path}: size {header.width} x {header.height}; expected {expected}"
    if header.bits > 8 or header.channels in UNUSABLE[kind]:
        return f"{path}: {header.bits}-bit {header.channels}; expected {KIND[kind]}"
    return None


def _empty_parsing(path: Path) -> str | None:
    is_empty = not head_pixels(decode_image(path, cv2.IMREAD_COLOR)).any()
    return (
        f"{path}: no pixel is pure blue (0, 0, 255); expected the head in that colour" if is_empty else None
    )
