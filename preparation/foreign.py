"""Data sets in the formats of others, turned into this layout.

insta         INSTA's folder: transforms.json (camera-to-world with OpenCV axes, metres), images/<id>.png with
alpha,
              flame/exp/<id>.txt
flashavatar   FlashAvatar's folder: imgs/<n>.jpg and alpha/<n>.jpg, n from 1, with the metrical tracker's
              checkpoint/<n - 1>.frame beside them: a torch file of numpy arrays, read without running code

Lengths become head units, images are copied bit for bit, masks are written as <id + 1>.png.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from preparation.dataset_files import Layout, write_transforms
from preparation.files import read_image, write_image
from preparation.head_pose import Camera
from preparation.rigid import Poses
from utils.errors import UserError
from utils.progress import track

UNITS_PER_METRE = 2.7  # 0.48 from forehead to chin are 17.8 cm


class ForeignFrame(NamedTuple):
    """One frame of someone else's data set."""

    image_id: int
    image: Path
    matte: Path | None  # None: the alpha of the image
    world_to_camera: np.ndarray  # [4, 4] OpenCV axes, metres
    expression: np.ndarray  # [E]


class ForeignClip(NamedTuple):
    """All of it."""

    frames: list[ForeignFrame]
    intrinsics: np.ndarray  # [3, 3] pixels
    names: tuple[str, ...]


def convert(source_format: str, source: Path, out: Path, overwrite: bool = False, quiet: bool = False) -> int:
    """Write the data set; returns the number of frames. Raises UserError that names the file."""
    layout = Layout(out)
    if layout.transforms.exists() and not overwrite:
        raise UserError(f"{out}: holds a data set; choose another folder, or replace it by --overwrite")
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; expected a data set of {source_format}")
    clip = READERS[source_format](source)
    if not clip.frames:
        raise UserError(f"{source}: no frame has an image, a pose and an expression")
    if layout.transforms.exists():
        layout.transforms.unlink()
        for name in ("ori_imgs", "mask", "parsing"):
            shutil.rmtree(out / name, ignore_errors=True)
    size = None
    for frame in track(clip.frames, len(clip.frames), "copying frames", quiet=quiet):
        found = _copy(frame, layout)
        if size not in (None, found):
            raise UserError(
                f"{frame.image}: {found[0]} x {found[1]}; expected {size[0]} x {size[1]} as before"
            )
        size = found
    matrices = np.stack([frame.world_to_camera for frame in clip.frames])
    poses = Poses(matrices[:, :3, :3], UNITS_PER_METRE * matrices[:, :3, 3])
    camera = Camera(np.diag(clip.intrinsics)[:2], clip.intrinsics[:2, 2])
    ids = np.array([frame.image_id for frame in clip.frames])
    expressions = np.stack([frame.expression for frame in clip.frames])
    source_note = {"format": source_format, "folder": source.name}
    write_transforms(layout.transforms, size, camera, ids, poses, expressions, clip.names, source=source_note)
    return len(clip.frames)


def read_insta(root: Path) -> ForeignClip:
    """Read INSTA's transforms.json and what it names."""
    path = root / "transforms.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        intrinsics = np.eye(3)
        intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]] = [document[key] for key in ("fl_x", "fl_y", "cx", "cy")]
        entries = sorted(document["frames"], key=lambda entry: _number(entry["file_path"]))
        frames = [_insta_frame(root, entry) for entry in entries]
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or error}: missing; expected a data set of INSTA") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not as INSTA writes it ({type(error).__name__}: {error})") from None
    return ForeignClip(frames, intrinsics, _names(exp=len(frames[0].expression) if frames else 0))


def _insta_frame(root: Path, entry: dict) -> ForeignFrame:
    matrix = np.linalg.inv(np.array(entry["transform_matrix"], np.float64))
    expression = np.loadtxt(root / entry["exp_path"]).ravel()
    return ForeignFrame(_number(entry["file_path"]), root / entry["file_path"], None, matrix, expression)


def read_flashavatar(root: Path) -> ForeignClip:
    """Read FlashAvatar's pictures and the metrical tracker's checkpoints."""
    frames, intrinsics, sizes = [], np.eye(3), {}
    for path in sorted((root / "checkpoint").glob("*.frame"), key=lambda path: _number(path.name)):
        payload = _load_arrays(path)
        number = _number(path.name) + 1
        images = [root / folder / f"{number:05d}.jpg" for folder in ("imgs", "alpha")]
        if not all(image.is_file() for image in images):
            continue  # the tracker is a frame ahead of the pictures at the end
        try:
            flame, opencv = payload["flame"], payload["opencv"]
            parts = {name: np.ravel(flame[name]) for name in ("exp", "eyes", "eyelids", "jaw")}
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = np.asarray(opencv["R"])[0], np.asarray(opencv["t"])[0]
            intrinsics = np.asarray(opencv["K"], np.float64)[0]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(f"{path}: not as the metrical tracker writes it ({error!r})") from None
        sizes = {name: len(values) for name, values in parts.items()}
        frames.append(ForeignFrame(number, *images, matrix, np.concatenate(list(parts.values()))))
    return ForeignClip(frames, intrinsics, _names(**sizes))


READERS = {"insta": read_insta, "flashavatar": read_flashavatar}


def _load_arrays(path: Path) -> dict:
    """Load a torch file of numpy arrays and numbers; anything else in it is refused, nothing is run."""
    import torch

    arrays = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8"))]
    reconstruct, scalar = np.empty(0).__reduce__()[0], np.float32(0).__reduce__()[0]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # as numpy 1 and 2 name them
        arrays += [(reconstruct, f"{module}._reconstruct"), (scalar, f"{module}.scalar")]
    try:
        with torch.serialization.safe_globals(arrays):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds for damaged and for foreign files
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: cannot be read as arrays: {reason}") from None


def _copy(frame: ForeignFrame, layout: Layout) -> tuple[int, int]:
    """Write image and matte; returns width and height."""
    if frame.matte is not None:
        matte = read_image(frame.matte, cv2.IMREAD_GRAYSCALE)
        layout.image(0).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(frame.image, layout.image(frame.image_id))
        size = read_image(frame.image).shape[1::-1]
    else:
        pixels = read_image(frame.image, cv2.IMREAD_UNCHANGED)
        if pixels.ndim != 3 or pixels.shape[2] != 4:
            raise UserError(f"{frame.image}: expected a matte in its alpha channel")
        matte, size = pixels[..., 3], pixels.shape[1::-1]
        write_image(layout.image(frame.image_id).with_suffix(".png"), pixels[..., :3])
    if matte.shape[::-1] != size:
        raise UserError(f"{frame.matte}: {matte.shape[1]} x {matte.shape[0]}; expected {size[0]} x {size[1]}")
    write_image(layout.mask(frame.image_id), matte)
    return size


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
