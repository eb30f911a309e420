"""IMavatar's folders, as PointAvatar, SplattingAvatar and MonoGaussianAvatar read them.

<video>/flame_params.json with image/, mask/ and semantic/<n>.png beside it; a folder that holds several such
videos of one person is read as one clip, by their names. Of each frame world_mat, world-to-camera, 3 x 4,
lengths 4 x metres; expression; pose: rotation vectors of global, neck, jaw and both eyes. intrinsics are
shares of the picture's side, in old files pixels of 512. A negative first or second entry turns that axis of
the camera.
"""

import re
from pathlib import Path

import numpy as np

from preparation.converters.files import PICTURE_SUFFIXES, frames_of, matrix, picture_named, slashed, vector
from preparation.converters.flame_pose import FlameMotion, with_flame_motion
from preparation.converters.record import (
    ForeignClip,
    ForeignFrame,
    Picture,
    head_of_labels,
    intrinsics_of,
    numbered_names,
)
from utils.errors import UserError
from utils.progress import track

_LENGTHS_PER_METRE = 4.0
# Of old files' intrinsics: pixels of pictures of this side; shares of it stay below the limit.
_OLD_SIDE, _LARGEST_SHARE = 512, 40.0


def read_imavatar(root: Path, quiet: bool = True) -> ForeignClip:
    """Read a video, or all videos of a person. Raises UserError."""
    paths = _documents(root)
    frames, rigid, sizes = [], [], {}
    for path in paths:
        document, entries = frames_of(path)
        entries = sorted(entries, key=lambda entry: _number(path, entry))
        for entry in track(entries, len(entries), f"reading {path.parent.name}", quiet=quiet):
            frame, pose, sizes = _frame(path, document, entry, len(frames))
            frames.append(frame)
            rigid.append([pose[:3], pose[3:6], np.zeros(3)])
    if not frames:
        raise UserError(f"{paths[0]}: frames: empty")
    clip = ForeignClip(frames, numbered_names(**sizes), find_head=head_of_labels).without_some_parsing()
    if len(paths) > 1:
        clip = clip._replace(notes=(f"{len(paths)} videos, one after the other",))
    motion = FlameMotion.from_vectors(*zip(*rigid, strict=True))
    return with_flame_motion(clip, motion, list(range(len(frames))), quiet)


def _documents(root: Path) -> list[Path]:
    for pattern in ("flame_params.json", "*/flame_params.json", "*/*/flame_params.json"):
        if paths := sorted(root.glob(pattern)):
            return paths
    raise UserError(f"{root / 'flame_params.json'}: missing; expected a data set of IMavatar")


def _number(path: Path, entry: dict) -> int:
    name = entry.get("file_path")
    digits = re.findall(r"\d+", name) if isinstance(name, str) and "\0" not in name else []
    if not digits:
        raise UserError(f"{path}: file_path: expected a name with a number, found {name!r}")
    return int(digits[-1])


def _frame(path: Path, document: dict, entry: dict, image_id: int) -> tuple[ForeignFrame, np.ndarray, dict]:
    root, name = path.parent, Path(slashed(entry["file_path"])).name
    image = _picture(root, name, "image", "images")
    if image is None:
        raise UserError(f"{root / 'image' / name}.png: missing; {path.name} names it")
    matte = _picture(root, name, "mask")
    axes, intrinsics = _camera(path, document, entry, image.size())
    pose = matrix(entry, "world_mat", path, 3, 4)
    pose[:3, 3] /= _LENGTHS_PER_METRE
    turns = vector(entry, "pose", path, 15)
    parts = {"exp": vector(entry, "expression", path)}
    parts |= {"jaw": turns[6:9], "eyes": turns[9:], "neck": turns[3:6]}
    frame = ForeignFrame(
        image_id,
        image,
        matte,
        (path, path),
        np.diag([*axes, 1.0]) @ pose,
        np.concatenate(list(parts.values())),
        intrinsics,
        _picture(root, name, "semantic"),
    )
    return frame, turns, {key: len(values) for key, values in parts.items()}


def _picture(root: Path, name: str, *folders: str) -> Picture | None:
    stem = Path(name).stem if Path(name).suffix.lower() in PICTURE_SUFFIXES else name
    places = (picture_named(root / folder, stem) for folder in folders)
    return next((Picture(place) for place in places if place), None)


def _camera(
    path: Path, document: dict, entry: dict, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:  # [3], [3, 3]
    """The signs that take the camera's axes to OpenCV's, and the intrinsics in pixels.

    With s the signs of both focal lengths, a pixel is |f| s x / z + c; the point itself is on the side of the
    camera that makes this a rotation, not a mirror image.
    """
    values = vector(entry if "intrinsics" in entry else document, "intrinsics", path, 4)
    if not values[:2].all():
        raise UserError(f"{path}: intrinsics: expected focal lengths other than 0")
    if np.abs(values[:2]).max() > _LARGEST_SHARE:
        values = values / _OLD_SIDE
    width, height = size
    focal = np.abs(values[:2]) * [width, height]
    axes = np.array([*np.sign(values[:2]), 1.0])
    return axes * np.prod(axes), intrinsics_of(*focal, values[2] * width, values[3] * height)
