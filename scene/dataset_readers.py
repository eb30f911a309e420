"""From a clip's folder to checked frame records. Reads headers only; pixels are decoded by `dataset.py`.

    transforms.json             h w fx fy cx cy [pixels], optional exp_names and mask_offset,
                                frames: [{img_id, exp_ori, transform_matrix}]
    ori_imgs/<img_id>.jpg|png   frames
    mask/<img_id + 1>.png       foreground mattes; <img_id>.png where mask/<max id + 1>.png is not there, or
                                mask_offset is 0
    parsing/<img_id>.png        for --only_head

The layout of NeRFBlendShape (Gao et al. 2022). Frames are sorted by img_id, which is time: the test split is
the end of the clip whatever the order in the file. The ids need not be contiguous. Every defect is one line:
file, field, expected, found.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scene.cameras import Camera, near_plane
from scene.clip_checks import check_clip
from scene.image_checks import check_image_files
from scene.transforms_file import (
    expression_names_of,
    expressions_of,
    frame_entries,
    number_of,
    poses_of,
    read_document,
    size_of,
    torsos_of,
)
from utils.errors import UserError

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


def read_transforms(source_path: Path | str, only_head: bool = False, name: str = "transforms.json") -> Clip:
    """Read and check transforms.json alone: cameras and expressions. Raises UserError."""
    root = Path(source_path)
    json_path = root / name
    document = read_document(json_path)
    width, height = (size_of(json_path, document, key) for key in ("w", "h"))
    fx, fy = (number_of(json_path, document, key, positive=True) for key in ("fx", "fy"))
    cx, cy = (number_of(json_path, document, key) for key in ("cx", "cy"))
    entries, image_ids = frame_entries(json_path, document)
    expressions = expressions_of(json_path, entries, image_ids)
    names = expression_names_of(json_path, document, expressions.shape[1])
    poses = poses_of(json_path, entries, image_ids)
    torsos = torsos_of(json_path, entries, image_ids)

    mask_offset, reason = _mask_offset(root, json_path, document, max(image_ids))
    notes = (f"masks: mask/<img_id{' + 1' * mask_offset}>.png, because {reason}",)
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
    near = near_plane(np.linalg.norm(poses[:, :3, 3], axis=1))
    return Clip(root, frames, width, height, fx, fy, cx, cy, near, names, mask_offset, notes)


def _mask_offset(root: Path, json_path: Path, document: dict, last_id: int) -> tuple[int, str]:
    """What a mask's number is more than its frame's, 0 or 1, and what says so."""
    if "mask_offset" in document:
        offset = document["mask_offset"]
        if offset not in (0, 1):
            raise UserError(f"{json_path}: mask_offset: expected 0 or 1, found {offset!r}")
        return int(offset), f"mask_offset is {offset}"
    following = root / "mask" / f"{last_id + 1}.png"
    offset = int(following.is_file())
    return offset, f"mask/{following.name} {'exists' if offset else 'does not exist'}"


def _image_path(root: Path, image_id: int) -> Path:
    jpg = root / "ori_imgs" / f"{image_id}.jpg"
    png = jpg.with_suffix(".png")
    return png if not jpg.is_file() and png.is_file() else jpg
