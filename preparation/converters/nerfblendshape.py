"""NeRFBlendShape's folders and those of talking-head NeRFs with expressions, whose layout ours is.

transforms.json, or transforms_train, _val and _test.json: camera-to-world with OpenGL axes, head units; of
each frame img_id, exp_ori (or exp), transform_matrix; fx fy, fl_x fl_y or focal_len, cx, cy.
ori_imgs/<id>.jpg (or images/), mask/<id + 1>.png, mask/<id>.png or image_mask/mask_<id>.png,
parsing/<id>.png.
"""

from collections.abc import Callable
from pathlib import Path

from preparation.converters.files import frames_of, matrix, picture_named, size_told, split_files, vector
from preparation.converters.record import (
    ForeignClip,
    ForeignFrame,
    Picture,
    intrinsics_of,
    numbered_names,
    opencv_from_opengl,
)
from utils.errors import UserError
from utils.progress import track

_MOST_IMAGES = 10**9
_FOCAL_KEYS = (("fx", "fy"), ("fl_x", "fl_y"), ("focal_len", "focal_len"), ("focal_length", "focal_length"))
_MASKS: tuple[Callable[[int], str], ...] = (
    lambda number: f"mask/{number + 1}.png",
    lambda number: f"mask/{number}.png",
    lambda number: f"image_mask/mask_{number}.png",
    lambda number: f"image_mask/mask_{number:05d}.png",
)


def read_nerfblendshape(root: Path, quiet: bool = True) -> ForeignClip:
    """Read it. Raises UserError."""
    entries, document = _entries(root)
    # As train.py reads it, told or by what is there.
    patterns = _MASKS[1:] if document.get("mask_offset") == 0 else _MASKS
    names = [name for name in patterns if (root / name(entries[-1][1]["img_id"])).is_file()]
    mask = names[0] if names else None
    frames = []
    for path, entry in track(entries, len(entries), "reading frames", quiet=quiet):
        number = entry["img_id"]
        matte, parsing = root / mask(number) if mask else None, root / f"parsing/{number}.png"
        if matte and not matte.is_file():
            raise UserError(f"{matte}: missing; {path.name} has img_id {number}")
        frames.append(ForeignFrame(
            number, _image(root, path, number), Picture(matte) if matte else None, (path, path),
            opencv_from_opengl(matrix(entry, "transform_matrix", path)),
            vector(entry, "exp_ori" if "exp_ori" in entry else "exp", path),
            _intrinsics(path, document), Picture(parsing) if parsing.is_file() else None,
            size_told(document, path),
        ))  # fmt: skip
    length, given = len(frames[0].expression), document.get("exp_names")
    names = tuple(map(str, given)) if isinstance(given, list) else numbered_names(exp=length)
    return ForeignClip(frames, names, scale=1.0).without_some_parsing()


def _entries(root: Path) -> tuple[list[tuple[Path, dict]], dict]:
    """Each frame once with the file that has it, by img_id, and the first document."""
    paths = split_files(root)
    if not paths:
        raise UserError(f"{root / 'transforms.json'}: missing; expected a data set of NeRFBlendShape")
    found, documents = [], []
    for path in paths:
        document, frames = frames_of(path)
        documents.append(document)
        known = {entry["img_id"] for _, entry in found}
        for entry in frames:
            number = entry.get("img_id")
            if type(number) is not int or not 0 <= number < _MOST_IMAGES:
                raise UserError(f"{path}: img_id: expected an integer from 0 to {_MOST_IMAGES - 1}")
            if entry["img_id"] not in known:
                found.append((path, entry))
    if not found:
        raise UserError(f"{paths[0]}: frames: empty")
    return sorted(found, key=lambda item: item[1]["img_id"]), documents[0]


def _image(root: Path, path: Path, number: int) -> Picture:
    places = [("ori_imgs", f"{number}"), ("images", f"{number}"), ("images", f"{number:05d}")]
    for folder, stem in (*places, ("head_imgs", f"{number}")):
        if place := picture_named(root / folder, stem):
            return Picture(place)
    raise UserError(f"{root / 'ori_imgs' / str(number)}.jpg: missing; {path.name} has img_id {number}")


def _intrinsics(path: Path, document: dict):
    for keys in _FOCAL_KEYS:
        if keys[0] in document:
            return intrinsics_of(*(vector(document, key, path, 1)[0] for key in (*keys, "cx", "cy")))
    raise UserError(f"{path}: fx, fy: missing; expected fx and fy, fl_x and fl_y, or focal_len")
