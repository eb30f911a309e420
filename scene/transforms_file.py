"""What transforms.json says, number by number; every defect is one line: file, field, expected, found."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scene.foreign_layouts import layout_hint
from utils.errors import UserError
from utils.json_files import is_number, read_bounded, shown

_NOT_FINITE = "NaN or infinity"
# Pixels.
LARGEST_SIDE = 16_384
# Largest error of an entry of R^T R.
ROTATION_TOLERANCE = 1e-3
LAST_ROW_TOLERANCE = 1e-6


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object of a file, with or without a byte order mark. Raises UserError."""
    if not path.parent.is_dir():
        raise UserError(
            f"{path.parent}: no such folder; expected transforms.json, ori_imgs/, mask/; name it by -s"
        )
    try:
        document = json.loads(read_bounded(path).decode("utf-8-sig"), parse_int=_integer)
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing; expected cameras and expressions of the clip{layout_hint(path.parent, {})}"
        ) from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: line {error.lineno} column {error.colno}: {error.msg}; truncated or not JSON"
        ) from None
    if not isinstance(document, dict):
        raise UserError(
            f"{path}: expected an object with h, w, fx, fy, cx, cy and frames, found {shown(document)}"
        )
    if hint := layout_hint(path.parent, document):
        raise UserError(f"{path}: not in this project's layout{hint}")
    return document


def _integer(digits: str) -> int | float:
    # No integer too large for a float reaches a check.
    return int(digits) if len(digits) < 19 else float(digits)


def number_of(path: Path, document: dict, key: str, positive: bool = False) -> float:
    """A finite number of pixels. Raises UserError."""
    value = document.get(key)
    expected = "a positive number of pixels" if positive else "a finite number of pixels"
    if key not in document:
        raise UserError(f"{path}: {key}: missing; expected {expected}")
    if not is_number(value) or (positive and value <= 0):
        raise UserError(f"{path}: {key}: expected {expected}, found {shown(value)}")
    return float(value)


def size_of(path: Path, document: dict, key: str) -> int:
    """A whole, positive number of pixels. Raises UserError."""
    value = number_of(path, document, key, positive=True)
    if value != int(value):
        raise UserError(f"{path}: {key}: expected a whole number of pixels, found {shown(value)}")
    if value > LARGEST_SIDE:
        raise UserError(f"{path}: {key}: expected at most {LARGEST_SIDE} pixels, found {shown(value)}")
    return int(value)


def frame_entries(path: Path, document: dict) -> tuple[list[dict], list[int]]:
    """Return the entries of `frames` sorted by img_id, and the ids."""
    entries = document.get("frames")
    if not isinstance(entries, list) or not entries:
        found = "missing" if "frames" not in document else f"found {shown(entries)}"
        raise UserError(f"{path}: frames: expected a list with an entry for each frame, {found}")
    for position, entry in enumerate(entries):
        image_id = entry.get("img_id") if isinstance(entry, dict) else None
        if type(image_id) is not int or image_id < 0:
            found = shown(image_id) if isinstance(entry, dict) and "img_id" in entry else "nothing"
            raise UserError(
                f"{path}: frames[{position}].img_id: expected an integer of 0 or more, found {found}"
            )
    entries = sorted(entries, key=lambda entry: entry["img_id"])
    image_ids = [entry["img_id"] for entry in entries]
    twice = [i for i, count in Counter(image_ids).items() if count > 1]
    if twice:
        raise UserError(
            f"{path}: frames: img_id {twice[0]} occurs {image_ids.count(twice[0])} times; expected once"
        )
    return entries, image_ids


def expressions_of(path: Path, entries: list[dict], image_ids: list[int]) -> np.ndarray:  # [F, E] float32
    """`exp_ori` of every frame: finite, of one length. Raises UserError."""
    vectors = []
    for entry, image_id in zip(entries, image_ids, strict=True):
        where = f"{path}: img_id {image_id}: exp_ori"
        vector = _array(entry, "exp_ori", where, "a list of numbers")
        if vector.ndim != 1 or not vector.size:
            raise UserError(f"{where}: expected a list of numbers, found shape {list(vector.shape)}")
        if not np.isfinite(vector).all():
            position = int(np.argmin(np.isfinite(vector)))
            raise UserError(f"{where}[{position}]: expected a finite number, found {_NOT_FINITE}")
        if vectors and len(vector) != len(vectors[0]):
            raise UserError(
                f"{where}: expected {len(vectors[0])} values as in img_id {image_ids[0]}, found {len(vector)}"
            )
        vectors.append(vector)
    with np.errstate(over="ignore"):
        expressions = np.array(vectors).astype(np.float32)
    if not np.isfinite(expressions).all():
        image_id = image_ids[int(np.argmin(np.isfinite(expressions).all(axis=1)))]
        raise UserError(f"{path}: img_id {image_id}: exp_ori: too large for a 32-bit float")
    return expressions


def expression_names_of(path: Path, document: dict, length: int) -> tuple[str, ...] | None:
    """`exp_names`, where the file has them: one for each of `length` coefficients. Raises UserError."""
    names = document.get("exp_names")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: exp_names: expected a list of names, found {shown(names)}")
    if len(names) != length:
        raise UserError(
            f"{path}: exp_names: expected {length} names, one per value of exp_ori, found {len(names)}"
        )
    if len(set(names)) < length:
        raise UserError(f"{path}: exp_names: '{Counter(names).most_common(1)[0][0]}' occurs more than once")
    return tuple(names)


def torsos_of(path: Path, entries: list[dict], image_ids: list[int]) -> Sequence[np.ndarray | None]:
    """The optional torso_transform [4, 4] float64 of every frame: of all or of none. Raises UserError."""
    if not any("torso_transform" in entry for entry in entries):
        return [None] * len(entries)
    return _rigid_matrices(path, entries, image_ids, "torso_transform")


def poses_of(path: Path, entries: list[dict], image_ids: list[int]) -> np.ndarray:  # [F, 4, 4] float64
    """`transform_matrix` of every frame: rigid, and before the camera is the head. Raises UserError."""
    poses = _rigid_matrices(path, entries, image_ids, "transform_matrix")
    # The depth of the origin; the camera looks down its -z.
    is_behind = (poses[:, :3, 3] * poses[:, :3, 2]).sum(axis=1) <= 0  # [F]
    if is_behind.any():
        raise UserError(
            f"{path}: img_id {image_ids[is_behind.argmax()]}: transform_matrix: the head (the origin) is not "
            "in front of the camera; expected camera-to-world with OpenGL axes (x right, y up, looking down "
            "-z)"
        )
    return poses


def _rigid_matrices(path: Path, entries: list[dict], image_ids: list[int], key: str) -> np.ndarray:
    """[F, 4, 4] float64, checked together; one by one only to name the first that is none."""
    try:
        matrices = np.array([entry[key] for entry in entries], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        matrices = np.empty(0)
    if matrices.shape == (len(entries), 4, 4) and _are_rigid(matrices):
        return matrices
    named = zip(entries, image_ids, strict=True)
    return np.array([rigid_matrix(entry, key, f"{path}: img_id {i}: {key}") for entry, i in named])


def _are_rigid(matrices: np.ndarray) -> bool:  # [F, 4, 4] -> whether `rigid_matrix` takes them all
    if not np.isfinite(matrices).all():
        return False
    is_rigid = (
        (_last_row_error(matrices) <= LAST_ROW_TOLERANCE)
        & (_rotation_error(matrices) <= ROTATION_TOLERANCE)
        & (np.linalg.det(matrices[:, :3, :3]) >= 0)
    )
    return bool(is_rigid.all())


def _last_row_error(matrices: np.ndarray) -> np.ndarray:  # [..., 4, 4] -> [...]
    return np.abs(matrices[..., 3, :] - [0, 0, 0, 1]).max(axis=-1)


def _rotation_error(matrices: np.ndarray) -> np.ndarray:  # [..., 4, 4] -> [...], of R^T R
    rotation = matrices[..., :3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.abs(rotation.swapaxes(-1, -2) @ rotation - np.eye(3)).max(axis=(-1, -2))


def rigid_matrix(entry: dict, key: str, where: str) -> np.ndarray:  # [4, 4] float64
    """A rotation and a translation, found under a key. Raises UserError that begins with `where`."""
    pose = _array(entry, key, where, "4 x 4 numbers")
    if pose.shape != (4, 4):
        raise UserError(f"{where}: expected 4 x 4 numbers, found shape {list(pose.shape)}")
    if not np.isfinite(pose).all():
        raise UserError(f"{where}: expected finite numbers, found {_NOT_FINITE}")
    if _last_row_error(pose) > LAST_ROW_TOLERANCE:
        raise UserError(f"{where}: last row: expected 0 0 0 1, found {' '.join(f'{v:g}' for v in pose[3])}")
    if not (error := _rotation_error(pose)) <= ROTATION_TOLERANCE:
        raise UserError(
            f"{where}: rotation is not orthonormal: R^T R differs from the identity by {error:.3g}; "
            f"expected at most {ROTATION_TOLERANCE:g}"
        )
    if np.linalg.det(pose[:3, :3]) < 0:
        raise UserError(f"{where}: rotation has determinant -1, a mirror image; expected +1")
    return pose


def _array(entry: dict, key: str, where: str, expected: str) -> np.ndarray:
    if key not in entry:
        raise UserError(f"{where}: missing; expected {expected}")
    try:
        return np.array(entry[key], dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{where}: expected {expected}, found {shown(entry[key])}") from None
