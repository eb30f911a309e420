"""Data sets in the formats of others, turned into this layout.

insta         INSTA's folder: transforms.json (camera-to-world with OpenCV axes, metres) or the files of its
              split, images/<id>.png with alpha, flame/exp/<id>.txt, seg_mask/<id>.png
flashavatar   FlashAvatar's folder: imgs/<n>.jpg and alpha/<n>.jpg, n from 1, with the metrical tracker's
              checkpoint/<n - 1>.frame beside them: a torch file of numpy arrays, read without running code

Lengths become head units, 16 bits become 8, JPEGs are copied bit for bit, masks are written as <id + 1>.png.
"""

import json
import os
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
from scene.dataset_readers import read_clip, read_transforms
from utils.errors import UserError
from utils.progress import track

# 0.48 from forehead to chin are 17.8 cm.
UNITS_PER_METRE = 2.7
SPLITS = ("train", "val", "test")


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


def convert(source_format: str, source: Path, out: Path, overwrite: bool = False, quiet: bool = False) -> int:
    """Write the data set; returns the number of frames. Raises UserError that names the file.

    Everything is written beside `out` and looked at as train.py will, transforms.json before the first copy;
    then it takes its place. Where anything fails, `out` is as it was.
    """
    layout = Layout(out)
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; expected a data set of {source_format}")
    _check_places(source, out)
    if layout.transforms.exists() and not overwrite:
        raise UserError(f"{out}: holds a data set; choose another folder, or replace it by --overwrite")
    clip = READERS[source_format](source)
    _check_numbers(source, clip)
    staging = Layout(out.with_name(f".{out.name}.{os.getpid()}.part"))
    try:
        _write_transforms(clip, staging, {"format": source_format, "folder": source.name})
        read_transforms(staging.root)
        for frame in track(clip.frames, len(clip.frames), "copying frames", quiet=quiet):
            _copy(frame, staging)
        read_clip(staging.root)
        _take_place(staging, layout)
    except UserError as error:
        # The reader names files of the staging folder, which nobody will find.
        raise UserError(str(error).replace(str(staging.root), str(out))) from None
    finally:
        shutil.rmtree(staging.root, ignore_errors=True)
    return len(clip.frames)


def _check_places(source: Path, out: Path) -> None:
    """Refuse to write over, or into, what is read."""
    read, written = source.resolve(), out.resolve()
    if read == written or read in written.parents or written in read.parents:
        raise UserError(
            f"{out}: lies in the folder that is read, {source}, or holds it; expected another folder"
        )


def _check_numbers(source: Path, clip: ForeignClip) -> None:
    """Refuse what no data set can hold, naming the source's own files."""
    if not clip.frames:
        raise UserError(f"{source}: no frame has an image, a pose and an expression")
    seen = set()
    for frame in clip.frames:
        for path, what, values in (
            (frame.sources[0], f"{frame.image.name}: pose", frame.world_to_camera),
            (frame.sources[1], "expression", frame.expression),
        ):
            if not np.isfinite(values).all():
                raise UserError(f"{path}: {what}: expected finite numbers, found NaN or infinity")
        if frame.image_id in seen:
            raise UserError(
                f"{frame.sources[0]}: frame {frame.image.name} is there more than once; expected once"
            )
        seen.add(frame.image_id)
    lengths = {len(frame.expression): frame.sources[1] for frame in clip.frames}
    if len(lengths) > 1:
        (first, _), (second, path) = list(lengths.items())[:2]
        raise UserError(f"{path}: {second} expression coefficients; expected {first} as in the other frames")


def _write_transforms(clip: ForeignClip, layout: Layout, source: dict) -> None:
    matrices = np.stack([frame.world_to_camera for frame in clip.frames])
    poses = Poses(matrices[:, :3, :3], UNITS_PER_METRE * matrices[:, :3, 3])
    camera = Camera(np.diag(clip.intrinsics)[:2], clip.intrinsics[:2, 2])
    ids = np.array([frame.image_id for frame in clip.frames])
    expressions = np.stack([frame.expression for frame in clip.frames])
    size = read_image(clip.frames[0].image, cv2.IMREAD_UNCHANGED).shape[1::-1]
    write_transforms(layout.transforms, size, camera, ids, poses, expressions, clip.names, source=source)


def _take_place(staging: Layout, layout: Layout) -> None:
    """Move the finished data set to where it belongs, in place of one that is there."""
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.transforms.unlink(missing_ok=True)
    for name in ("ori_imgs", "mask", "parsing"):
        shutil.rmtree(layout.root / name, ignore_errors=True)
        if (staging.root / name).is_dir():
            (staging.root / name).rename(layout.root / name)
    staging.transforms.rename(layout.transforms)


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
        expression = np.concatenate(list(parts.values()))
        frames.append(ForeignFrame(number, *images, (path, path), matrix, expression))
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


def _copy(frame: ForeignFrame, layout: Layout) -> None:
    """Write image, matte and parsing map."""
    if frame.matte is not None:
        matte = _eight_bits(read_image(frame.matte, cv2.IMREAD_GRAYSCALE))
        layout.image(0).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(frame.image, layout.image(frame.image_id))
    else:
        pixels = _eight_bits(read_image(frame.image, cv2.IMREAD_UNCHANGED))
        if pixels.ndim != 3 or pixels.shape[2] != 4:
            raise UserError(f"{frame.image}: expected a matte in its alpha channel")
        matte = pixels[..., 3]
        write_image(layout.image(frame.image_id).with_suffix(".png"), pixels[..., :3])
    write_image(layout.mask(frame.image_id), matte)
    if frame.parsing is not None:
        write_image(layout.parsing(frame.image_id), _eight_bits(read_image(frame.parsing)))


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """uint8, of uint8 or uint16: 65535 is 255."""
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)


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
