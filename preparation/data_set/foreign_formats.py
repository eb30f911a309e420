"""The formats of others, read: where each frame's image, matte, pose and expression are.

insta         INSTA's folder: transforms.json (camera-to-world with OpenCV axes, metres) or the files of its
              split, images/<id>.png with alpha, flame/exp/<id>.txt, seg_mask/<id>.png
flashavatar   FlashAvatar's folder: imgs/<n>.jpg and alpha/<n>.jpg, n from 1, with the metrical tracker's
              checkpoint/<n - 1>.frame beside them: a torch file of numpy arrays, read without running code
"""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.errors import UserError

SPLITS = ("train", "val", "test")
# Bytes; a tracker writes 2 million a frame.
_LARGEST_UNPACKED = 1 << 28


class ForeignFrame(NamedTuple):
    """One frame of someone else's data set."""

    image_id: int
    image: Path
    # None: the alpha of the image.
    matte: Path | None
    # Where the pose, and where the expression was found, for messages.
    sources: tuple[Path, Path]
    world_to_camera: np.ndarray  # [4, 4] OpenCV axes, metres
    expression: np.ndarray  # [E]
    parsing: Path | None = None


class ForeignClip(NamedTuple):
    """All of it."""

    frames: list[ForeignFrame]
    intrinsics: np.ndarray  # [3, 3] pixels
    names: tuple[str, ...]


def read_insta(root: Path) -> ForeignClip:
    """Read INSTA's transforms.json, or the files of its split, and what they name."""
    path = root / "transforms.json"
    if not path.is_file():
        parts = [root / f"transforms_{name}.json" for name in SPLITS]
        path = next((part for part in parts if part.is_file()), path)
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        intrinsics = np.eye(3)
        intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]] = [document[key] for key in ("fl_x", "fl_y", "cx", "cy")]
        frames = [_insta_frame(root, path, entry) for entry in document["frames"]]
        if path.name != "transforms.json":
            frames += _other_splits(root, path, {frame.image_id for frame in frames})
        frames.sort(key=lambda frame: frame.image_id)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or error}: missing; expected a data set of INSTA") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not as INSTA writes it ({type(error).__name__}: {error})") from None
    if not all(frame.parsing for frame in frames):
        frames = [frame._replace(parsing=None) for frame in frames]
    return ForeignClip(frames, intrinsics, _names(exp=len(frames[0].expression) if frames else 0))


def _other_splits(root: Path, first: Path, known: set[int]) -> list[ForeignFrame]:
    """Frames of the other files of the split; some of them repeat frames of one another."""
    frames = []
    for name in SPLITS:
        path = root / f"transforms_{name}.json"
        if path != first and path.is_file():
            for entry in json.loads(path.read_text(encoding="utf-8-sig"))["frames"]:
                frame = _insta_frame(root, path, entry)
                if frame.image_id not in known:
                    known.add(frame.image_id)
                    frames.append(frame)
    return frames


def _insta_frame(root: Path, path: Path, entry: dict) -> ForeignFrame:
    pose = np.array(entry["transform_matrix"], np.float64)
    matrix = np.linalg.inv(pose) if np.isfinite(pose).all() else pose
    image, coefficients = (root / _slashed(entry[key]) for key in ("file_path", "exp_path"))
    for named in (image, coefficients):
        if not named.is_file():
            raise UserError(f"{named}: missing; {path.name} names it")
    parsing = root / _slashed(entry["seg_mask_path"]) if entry.get("seg_mask_path") else None
    return ForeignFrame(
        _number(image.name),
        image,
        None,
        (path, coefficients),
        matrix,
        np.loadtxt(coefficients).ravel(),
        parsing if parsing and parsing.is_file() else None,
    )


def _slashed(name: str) -> str:
    """A path as Windows writes it, too."""
    return name.replace("\\", "/")


def read_flashavatar(root: Path) -> ForeignClip:
    """Read FlashAvatar's pictures and the metrical tracker's checkpoints."""
    frames, intrinsics, sizes = [], np.eye(3), {}
    for path in sorted((root / "checkpoint").glob("*.frame"), key=lambda path: _number(path.name)):
        payload = _load_arrays(path)
        number = _number(path.name) + 1
        images = [root / folder / f"{number:05d}.jpg" for folder in ("imgs", "alpha")]
        # The tracker is a frame ahead of the pictures at the end.
        if not all(image.is_file() for image in images):
            continue
        try:
            flame, opencv = payload["flame"], payload["opencv"]
            parts = {name: np.ravel(flame[name]) for name in ("exp", "eyes", "eyelids", "jaw")}
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = np.asarray(opencv["R"])[0], np.asarray(opencv["t"])[0]
            intrinsics = np.asarray(opencv["K"], np.float64)[0]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(f"{path}: not as the metrical tracker writes it ({error!r})") from None
        sizes = {name: len(values) for name, values in parts.items()}
        expression = np.concatenate(list(parts.values()))
        frames.append(ForeignFrame(number, *images, (path, path), matrix, expression))
    return ForeignClip(frames, intrinsics, _names(**sizes))


READERS = {"insta": read_insta, "flashavatar": read_flashavatar}


def _load_arrays(path: Path) -> dict:
    """Load a torch file of numpy arrays and numbers; anything else in it is refused, nothing is run."""
    import torch

    arrays = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8"))]
    reconstruct, scalar = np.empty(0).__reduce__()[0], np.float32(0).__reduce__()[0]
    # As numpy 1 and 2 name them.
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        arrays += [(reconstruct, f"{module}._reconstruct"), (scalar, f"{module}.scalar")]
    _refuse_bomb(path)
    try:
        with torch.serialization.safe_globals(arrays):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises several kinds for damaged and for foreign files.
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: cannot be read as arrays: {reason}") from None


def _refuse_bomb(path: Path) -> None:
    """Refuse a torch file, which is a ZIP, that unpacks to more than any has. Raises UserError."""
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
    except (OSError, zipfile.BadZipFile):
        # Of an older kind, which nothing unpacks; what is wrong is said by who reads it.
        return
    if size > _LARGEST_UNPACKED:
        raise UserError(f"{path}: unpacks to {size} bytes; expected at most {_LARGEST_UNPACKED}")


def _number(name: str) -> int:
    digits = re.findall(r"\d+", Path(name).stem)
    if not digits:
        raise ValueError(f"{name}: no number in the name")
    return int(digits[-1])


def _names(**sizes: int) -> tuple[str, ...]:
    def numbered() -> Iterator[str]:
        for name, size in sizes.items():
            yield from (f"{name}{i}" for i in range(size))

    return tuple(numbered())
