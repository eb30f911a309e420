"""From a clip's folder to checked frame records. Reads headers only; pixels are decoded by `dataset.py`.

    transforms.json             h w fx fy cx cy [pixels], optional exp_names,
                                frames: [{img_id, exp_ori, transform_matrix}]
    ori_imgs/<img_id>.jpg|png   frames
    mask/<img_id + 1>.png       foreground mattes; <img_id>.png where mask/<max id + 1>.png is not there
    parsing/<img_id>.png        for --only_head

The layout of NeRFBlendShape (Gao et al. 2022). Frames are sorted by img_id, which is time: the test split is
the end of the clip whatever the order in the file. The ids need not be contiguous. Every defect is one line:
file, field, expected, found.
"""

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scene.cameras import Camera, near_plane
from scene.clip_checks import check_clip
from scene.image_checks import check_image_files
from utils.errors import UserError

_NOT_FINITE = "NaN or infinity"
# Largest error of an entry of R^T R.
ROTATION_TOLERANCE = 1e-3
LONG_CLIP, LONG_CLIP_TEST_FRAMES, TEST_SHARE = 2500, 500, 0.15


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """One frame of a clip, not decoded."""

    image_id: int
    image_path: Path
    mask_path: Path
    # None unless only the head is wanted.
    parsing_path: Path | None
    expression: np.ndarray  # [E] float32
    camera_to_world: np.ndarray  # [4, 4] float64, OpenGL axes
    torso: np.ndarray | None = None  # [4, 4] float64, torso_transform: camera space, OpenGL axes


@dataclass(frozen=True, eq=False)
class Clip:
    """A checked data set; sizes and intrinsics in pixels of the stored frames."""

    root: Path
    frames: tuple[FrameRecord, ...]  # in time order
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    # World units.
    near: float
    expression_names: tuple[str, ...] | None
    # The mask of frame i is mask/<i + mask_offset>.png.
    mask_offset: int
    # What the log should say about how the folder was read.
    notes: tuple[str, ...]
    # Whether mattes are looked at as they are decoded.
    is_checked: bool = True

    @property
    def digest(self) -> str:
        """What tells this clip from another one, wherever it lies: a hash of ids and cameras."""
        numbers = [self.width, self.height, self.fx, self.fy, self.cx, self.cy]
        content = hashlib.sha256(np.array(numbers, np.float64).tobytes())
        for frame in self.frames:
            content.update(np.int64(frame.image_id).tobytes())
            content.update(np.ascontiguousarray(frame.camera_to_world).tobytes())
        return content.hexdigest()[:16]

    def camera(self, frame: FrameRecord) -> Camera:
        """The camera of a frame, at the size of the stored frames."""
        return Camera.from_camera_to_world(
            frame.camera_to_world, self.fx, self.fy, self.cx, self.cy, self.width, self.height, self.near
        )


class Split(NamedTuple):
    """Positions in the clip, in time order."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]

    def thinned(self, max_frames: int) -> "Split":
        """Keep about so many frames, spread evenly, each part by its share and at least one; 0 = all."""
        total = sum(map(len, self))
        if not 0 < max_frames < total:
            return self
        return Split(*(_spread(part, math.ceil(len(part) * max_frames / total)) for part in self))


def _spread(items: tuple[int, ...], count: int) -> tuple[int, ...]:
    return tuple(items[i * len(items) // count] for i in range(count))


def split_clip(num_frames: int, eval: bool, test_frames: int | None = None, val_frames: int = 0) -> Split:
    """Split a clip in time: training, then validation, then held-out frames.

    Without `test_frames`, 500 frames are held out of clips of 2,500 and more, else the last 15 %. Raises
    UserError if nothing is left to train on.
    """
    num_test = 0
    if eval:
        default = (
            LONG_CLIP_TEST_FRAMES if num_frames >= LONG_CLIP else max(1, int(TEST_SHARE * num_frames + 0.5))
        )
        num_test = default if test_frames is None else test_frames
    num_train = num_frames - num_test - val_frames
    if num_train < 1:
        parts = [f"--test_frames {num_test}"] * bool(num_test) + [f"--val_frames {val_frames}"] * bool(
            val_frames
        )
        raise UserError(
            f"{' and '.join(parts) or 'the clip'}: no frame is left to train on; it has {num_frames} frames"
        )
    every = tuple(range(num_frames))
    return Split(every[:num_train], every[num_train : num_frames - num_test], every[num_frames - num_test :])


def read_clip(source_path: Path | str, only_head: bool = False, check_data: bool = True) -> Clip:
    """Read and check a clip: the whole of transforms.json, the presence, size and end of every image file.

    With `check_data` also whether cameras, mattes and pictures belong together (clip_checks.py).

    Raises UserError in one line that names file and field.
    """
    return with_pictures(read_transforms(source_path, only_head), check_data)


def with_pictures(clip: Clip, check_data: bool = True) -> Clip:
    """The clip, its pictures looked at as `read_clip` does."""
    check_image_files(
        images=[frame.image_path for frame in clip.frames],
        masks=[frame.mask_path for frame in clip.frames],
        parsings=[frame.parsing_path for frame in clip.frames if frame.parsing_path],
        size=(clip.width, clip.height),
    )
    clip = replace(clip, is_checked=check_data)
    return replace(clip, notes=(*clip.notes, *check_clip(clip))) if check_data else clip


def read_transforms(source_path: Path | str, only_head: bool = False) -> Clip:
    """Read and check transforms.json alone: cameras and expressions. Raises UserError."""
    root = Path(source_path)
    json_path = root / "transforms.json"
    document = _read_json(json_path)
    width, height = (_size(json_path, document, key) for key in ("w", "h"))
    fx, fy = (_number(json_path, document, key, positive=True) for key in ("fx", "fy"))
    cx, cy = (_number(json_path, document, key) for key in ("cx", "cy"))
    entries, image_ids = _frame_entries(json_path, document)
    expressions = _expressions(json_path, entries, image_ids)
    names = _expression_names(json_path, document, expressions.shape[1])
    poses = [_pose(json_path, entry, i) for entry, i in zip(entries, image_ids, strict=True)]

    torsos = _torsos(json_path, entries, image_ids)

    mask_offset = int((root / "mask" / f"{max(image_ids) + 1}.png").is_file())
    example = f"mask/{max(image_ids) + 1}.png {'exists' if mask_offset else 'does not exist'}"
    notes = (f"masks: mask/<img_id{' + 1' * mask_offset}>.png, because {example}",)
    frames = tuple(
        FrameRecord(
            image_id=i,
            image_path=_image_path(root, i),
            mask_path=root / "mask" / f"{i + mask_offset}.png",
            parsing_path=root / "parsing" / f"{i}.png" if only_head else None,
            expression=expression,
            camera_to_world=pose,
            torso=torso,
        )
        for i, expression, pose, torso in zip(image_ids, expressions, poses, torsos, strict=True)
    )
    near = near_plane(np.array([np.linalg.norm(pose[:3, 3]) for pose in poses]))
    return Clip(root, frames, width, height, fx, fy, cx, cy, near, names, mask_offset, notes)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.parent.is_dir():
        raise UserError(
            f"{path.parent}: no such folder; expected transforms.json, ori_imgs/, mask/; name it by -s"
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"), parse_int=_integer)
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing; expected cameras and expressions of the clip{_layout_hint(path.parent, {})}"
        ) from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: line {error.lineno} column {error.colno}: {error.msg}; truncated or not JSON"
        ) from None
    if not isinstance(document, dict):
        raise UserError(
            f"{path}: expected an object with h, w, fx, fy, cx, cy and frames, found {_shown(document)}"
        )
    if hint := _layout_hint(path.parent, document):
        raise UserError(f"{path}: not in this project's layout{hint}")
    return document


def _layout_hint(root: Path, document: dict) -> str:
    """Which option reads a folder as others write it, for the end of a line; else nothing."""
    entries = document.get("frames")
    entry = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
    if "img_id" not in entry and ("file_path" in entry or (not document and (root / "flame").is_dir())):
        return f": its frames have file_path, as INSTA's; convert: python prepare.py --from insta {root} OUT"
    if not document and (root / "transforms_train.json").is_file():
        return (
            "; transforms_train.json is there: split files of talking-head NeRFs have no expressions; "
            "prepare the video anew by python prepare.py VIDEO OUT"
        )
    if not document and (root / "checkpoint").is_dir():
        return f"; FlashAvatar's folders are read by python prepare.py --from flashavatar {root} OUT"
    if "exp_ori" not in entry and "exp" in entry:
        return ": frames have exp; this layout's name is exp_ori, rename it"
    return ""


def _integer(digits: str) -> int | float:
    # No integer too large for a float reaches a check.
    return int(digits) if len(digits) < 19 else float(digits)


def _number(path: Path, document: dict, key: str, positive: bool = False) -> float:
    value = document.get(key)
    expected = "a positive number of pixels" if positive else "a finite number of pixels"
    if key not in document:
        raise UserError(f"{path}: {key}: missing; expected {expected}")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or (positive and value <= 0):
        raise UserError(f"{path}: {key}: expected {expected}, found {_shown(value)}")
    return float(value)


def _size(path: Path, document: dict, key: str) -> int:
    value = _number(path, document, key, positive=True)
    if value != int(value):
        raise UserError(f"{path}: {key}: expected a whole number of pixels, found {_shown(value)}")
    return int(value)


def _frame_entries(path: Path, document: dict) -> tuple[list[dict], list[int]]:
    """Return the entries of `frames` sorted by img_id, and the ids."""
    entries = document.get("frames")
    if not isinstance(entries, list) or not entries:
        found = "missing" if "frames" not in document else f"found {_shown(entries)}"
        raise UserError(f"{path}: frames: expected a list with an entry for each frame, {found}")
    for position, entry in enumerate(entries):
        image_id = entry.get("img_id") if isinstance(entry, dict) else None
        if type(image_id) is not int or image_id < 0:
            found = _shown(image_id) if isinstance(entry, dict) and "img_id" in entry else "nothing"
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


def _expressions(path: Path, entries: list[dict], image_ids: list[int]) -> np.ndarray:  # [F, E] float32
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


def _expression_names(path: Path, document: dict, length: int) -> tuple[str, ...] | None:
    names = document.get("exp_names")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: exp_names: expected a list of names, found {_shown(names)}")
    if len(names) != length:
        raise UserError(
            f"{path}: exp_names: expected {length} names, one per value of exp_ori, found {len(names)}"
        )
    if len(set(names)) < length:
        raise UserError(f"{path}: exp_names: '{Counter(names).most_common(1)[0][0]}' occurs more than once")
    return tuple(names)


def _torsos(path: Path, entries: list[dict], image_ids: list[int]) -> list[np.ndarray | None]:
    """The optional torso_transform of every frame: of all or of none."""
    if not any("torso_transform" in entry for entry in entries):
        return [None] * len(entries)
    return [_rigid(path, entry, i, "torso_transform") for entry, i in zip(entries, image_ids, strict=True)]


def _pose(path: Path, entry: dict, image_id: int) -> np.ndarray:  # [4, 4] float64
    pose = _rigid(path, entry, image_id, "transform_matrix")
    # The depth of the origin; the camera looks down its -z.
    if pose[:3, 3] @ pose[:3, 2] <= 0:
        raise UserError(
            f"{path}: img_id {image_id}: transform_matrix: the head (the origin) is not in front of the "
            "camera; expected camera-to-world with OpenGL axes (x right, y up, looking down -z)"
        )
    return pose


def _rigid(path: Path, entry: dict, image_id: int, key: str) -> np.ndarray:  # [4, 4] float64
    where = f"{path}: img_id {image_id}: {key}"
    pose = _array(entry, key, where, "4 x 4 numbers")
    if pose.shape != (4, 4):
        raise UserError(f"{where}: expected 4 x 4 numbers, found shape {list(pose.shape)}")
    if not np.isfinite(pose).all():
        raise UserError(f"{where}: expected finite numbers, found {_NOT_FINITE}")
    if np.abs(pose[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise UserError(f"{where}: last row: expected 0 0 0 1, found {' '.join(f'{v:g}' for v in pose[3])}")
    rotation = pose[:3, :3]
    error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if error > ROTATION_TOLERANCE:
        raise UserError(
            f"{where}: rotation is not orthonormal: R^T R differs from the identity by {error:.3g}; "
            f"expected at most {ROTATION_TOLERANCE:g}"
        )
    if np.linalg.det(rotation) < 0:
        raise UserError(f"{where}: rotation has determinant -1, a mirror image; expected +1")
    return pose


def _array(entry: dict, key: str, where: str, expected: str) -> np.ndarray:
    if key not in entry:
        raise UserError(f"{where}: missing; expected {expected}")
    try:
        return np.array(entry[key], dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{where}: expected {expected}, found {_shown(entry[key])}") from None


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _image_path(root: Path, image_id: int) -> Path:
    jpg = root / "ori_imgs" / f"{image_id}.jpg"
    png = jpg.with_suffix(".png")
    return png if not jpg.is_file() and png.is_file() else jpg
