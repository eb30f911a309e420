"""INSTA's folder: transforms.json, or the files of its split, and what they name.

Camera-to-world with OpenCV axes, metres; the head is still. images/<id>.png with alpha, flame/exp/<id>.txt,
and where every frame has them flame/{jaw,eyes,eyelids}/<id>.txt; seg_mask/<id>.png.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from preparation.converters.files import (
    frames_of,
    inside,
    matrix,
    number_in,
    read_numbers,
    size_told,
    slashed,
    split_files,
    vector,
)
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
from utils.progress import track

# Beside exp/, where they are there for every frame.
_MORE = ("jaw", "eyes", "eyelids")
# Of the red channel of a parsing map.
_CLOTHES = 90


class _Entry(NamedTuple):
    document: Path
    # Of the frame, and of the document where the frame does not say.
    values: dict
    image: Path
    expression: Path
    number: int

    def beside(self, kind: str) -> Path:
        """The file of other coefficients."""
        return self.expression.parent.parent / kind / self.expression.name


def read_insta(root: Path, quiet: bool = True) -> ForeignClip:
    """Read INSTA's transforms.json, or the files of its split, and what they name. Raises UserError."""
    entries = _entries(root)
    more, notes = _kinds(entries)
    frames, sizes = [], {}
    for entry in track(entries, len(entries), "reading frames", quiet=quiet):
        parts = {"exp": read_numbers(entry.expression)}
        parts |= {kind: read_numbers(entry.beside(kind)) for kind in more}
        sizes = {kind: len(values) for kind, values in parts.items()}
        frames.append(_frame(root, entry, np.concatenate(list(parts.values()))))
    clip = ForeignClip(frames, numbered_names(**sizes), notes=notes).without_some_parsing()
    is_in_our_colors = not clip.frames[0].parsing or _has_blue(clip.frames[0].parsing)
    return clip if is_in_our_colors else clip._replace(find_head=_without_clothes)


def _entries(root: Path) -> list[_Entry]:
    """All frames by their numbers; files of a split may repeat those of one another."""
    paths = split_files(root)
    if not paths:
        raise UserError(f"{root / 'transforms.json'}: missing; expected a data set of INSTA")
    entries: list[_Entry] = []
    for path in paths:
        document, frames = frames_of(path)
        known = {entry.number for entry in entries}
        found = [_entry(root, path, document | frame) for frame in frames]
        entries += [entry for entry in found if entry.number not in known]
    if not entries:
        raise UserError(f"{paths[0]}: frames: empty")
    return sorted(entries, key=lambda entry: entry.number)


def _entry(root: Path, path: Path, values: dict) -> _Entry:
    image, expression = (inside(root, values, key, path) for key in ("file_path", "exp_path"))
    try:
        return _Entry(path, values, image, expression, number_in(image.name))
    except ValueError as error:
        raise UserError(f"{path}: file_path: {error}") from None


def _kinds(entries: list[_Entry]) -> tuple[list[str], tuple[str, ...]]:
    """Which coefficients every frame has, and a note on those that only some have."""
    kinds, notes = [], ()
    for kind in _MORE:
        num_lacking = sum(not entry.beside(kind).is_file() for entry in entries)
        if not num_lacking:
            kinds.append(kind)
        elif num_lacking < len(entries):
            lack = f"{num_lacking} of {len(entries)} frames have no file there"
            notes += (f"flame/{kind}: left out, {lack}",)
    return kinds, notes


def _frame(root: Path, entry: _Entry, expression: np.ndarray) -> ForeignFrame:
    values, path = entry.values, entry.document
    pose = matrix(values, "transform_matrix", path)
    parsing = values.get("seg_mask_path")
    parsing = root / slashed(parsing) if isinstance(parsing, str) and "\0" not in parsing else None
    return ForeignFrame(
        entry.number,
        Picture(entry.image),
        None,
        (path, entry.expression),
        rigid_inverse(pose) if np.isfinite(pose).all() else pose,
        expression,
        intrinsics_of(*(vector(values, key, path, 1)[0] for key in ("fl_x", "fl_y", "cx", "cy"))),
        Picture(parsing) if parsing and parsing.is_file() else None,
        size_told(values, path),
    )


def _has_blue(parsing: Picture) -> bool:
    return bool(head_pixels(np.ascontiguousarray(parsing.read()[..., ::-1])).any())


def _without_clothes(parsing: np.ndarray, matte: np.ndarray) -> np.ndarray:  # [H, W] bool
    """The head: what is cut out, less the clothes."""
    return (matte >= 128) & (parsing[..., 0] != _CLOTHES)
