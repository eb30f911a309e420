"""INSTA's folder: transforms.json, or the files of its split, and what they name.

Camera-to-world with OpenCV axes, metres; the head is still. images/<id>.png with alpha, flame/exp/<id>.txt,
and where every frame has them flame/{jaw,eyes,eyelids}/<id>.txt; seg_mask/<id>.png.
"""

import json
from pathlib import Path

import numpy as np

from preparation.converters.files import number_in, slashed, split_files
from preparation.converters.record import (
    ForeignClip,
    ForeignFrame,
    Picture,
    intrinsics_of,
    numbered_names,
    rigid_inverse,
)
from scene.image_checks import head_pixels
from utils.errors import UserError
from utils.json_files import read_bounded
from utils.progress import track

# Beside exp/, where they are there for every frame.
_MORE = ("jaw", "eyes", "eyelids")
# Of the red channel of a parsing map.
_CLOTHES = 90


def read_insta(root: Path, quiet: bool = True) -> ForeignClip:
    """Read INSTA's transforms.json, or the files of its split, and what they name. Raises UserError."""
    path, *others = split_files(root) or [root / "transforms.json"]
    try:
        document = _document(path)
        intrinsics = intrinsics_of(*(float(document[key]) for key in ("fl_x", "fl_y", "cx", "cy")))
        entries = [(path, entry) for entry in document["frames"]]
        entries += _other_splits(others, {number_in(entry["file_path"]) for _, entry in entries})
        more = [name for name in _MORE if all(_beside(root, entry, name).is_file() for _, entry in entries)]
        tracked = track(entries, len(entries), "reading frames", quiet=quiet)
        frames = [_frame(root, source, entry, intrinsics, more) for source, entry in tracked]
        frames.sort(key=lambda frame: frame.image_id)
        sizes = _sizes(frames, root, entries, more)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or error}: missing; expected a data set of INSTA") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path}: not as INSTA writes it ({type(error).__name__}: {error})") from None
    clip = ForeignClip(frames, numbered_names(**sizes)).without_some_parsing()
    is_in_our_colors = not clip.frames or not clip.frames[0].parsing or _has_blue(clip.frames[0].parsing)
    return clip if is_in_our_colors else clip._replace(find_head=_without_clothes)


def _document(path: Path) -> dict:
    try:
        return json.loads(read_bounded(path).decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("lists within lists") from error


def _other_splits(paths: list[Path], known: set[int]) -> list[tuple[Path, dict]]:
    """Frames of the other files of the split; some of them repeat frames of one another."""
    entries = []
    for path in paths:
        for entry in _document(path)["frames"]:
            number = number_in(entry["file_path"])
            if number not in known:
                known.add(number)
                entries.append((path, entry))
    return entries


def _beside(root: Path, entry: dict, name: str) -> Path:
    """The file of other coefficients, beside those of the expression."""
    expression = root / slashed(entry["exp_path"])
    return expression.parent.parent / name / expression.name


def _frame(root: Path, path: Path, entry: dict, intrinsics: np.ndarray, more: list[str]) -> ForeignFrame:
    pose = np.array(entry["transform_matrix"], np.float64)
    if pose.shape != (4, 4):
        raise ValueError(f"transform_matrix of shape {list(pose.shape)}")
    image, coefficients = (root / slashed(entry[key]) for key in ("file_path", "exp_path"))
    for named in (image, coefficients):
        if not named.is_file():
            raise UserError(f"{named}: missing; {path.name} names it")
    parsing = root / slashed(entry["seg_mask_path"]) if entry.get("seg_mask_path") else None
    vectors = [np.loadtxt(file).ravel() for file in (coefficients, *(_beside(root, entry, n) for n in more))]
    return ForeignFrame(
        number_in(image.name),
        Picture(image),
        None,
        (path, coefficients),
        rigid_inverse(pose) if np.isfinite(pose).all() else pose,
        np.concatenate(vectors),
        intrinsics,
        Picture(parsing) if parsing and parsing.is_file() else None,
    )


def _sizes(frames: list, root: Path, entries: list, more: list[str]) -> dict[str, int]:
    """How many coefficients each kind has."""
    if not frames:
        return {"exp": 0}
    sizes = {name: np.loadtxt(_beside(root, entries[0][1], name)).size for name in more}
    return {"exp": len(frames[0].expression) - sum(sizes.values())} | sizes


def _has_blue(parsing: Picture) -> bool:
    return bool(head_pixels(np.ascontiguousarray(parsing.read()[..., ::-1])).any())


def _without_clothes(parsing: np.ndarray, matte: np.ndarray) -> np.ndarray:  # [H, W] bool
    """The head: what is cut out, less the clothes."""
    return (matte >= 128) & (parsing[..., 0] != _CLOTHES)
