"""Data sets in the formats of others (`foreign_formats.py`), turned into this layout.

Lengths become head units, 16 bits become 8, JPEGs are copied bit for bit, masks are written as <id + 1>.png.
"""

import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np

from preparation.data_set.foreign_formats import READERS, ForeignClip, ForeignFrame
from preparation.data_set.images_and_arrays import read_image, write_image
from preparation.data_set.layout import Layout
from preparation.data_set.transforms import FrameRows, write_transforms
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from scene.dataset_readers import read_clip, read_transforms
from utils.errors import UserError
from utils.progress import track

# 0.48 from forehead to chin are 17.8 cm.
UNITS_PER_METRE = 2.7


def convert(
    source_format: str,
    source: Path,
    out: Path,
    overwrite: bool = False,
    quiet: bool = False,
    check_data: bool = True,
) -> int:
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
    _remove_staging(out)
    try:
        _write_transforms(clip, staging, {"format": source_format, "folder": source.name})
        read_transforms(staging.root)
        for frame in track(clip.frames, len(clip.frames), "copying frames", quiet=quiet):
            _copy(frame, staging)
        read_clip(staging.root, check_data=check_data)
        _take_place(staging, layout)
    except UserError as error:
        # The reader names files of the staging folder, which nobody will find.
        raise UserError(str(error).replace(str(staging.root), str(out))) from None
    finally:
        shutil.rmtree(staging.root, ignore_errors=True)
    return len(clip.frames)


def _remove_staging(out: Path) -> None:
    """Remove the folders that killed conversions left beside `out`."""
    is_staging = re.compile(rf"\.{re.escape(out.name)}\.\d+\.part")
    for path in out.parent.iterdir() if out.parent.is_dir() else ():
        if is_staging.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


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
    frames = FrameRows(ids, poses, np.stack([frame.expression for frame in clip.frames]))
    size = read_image(clip.frames[0].image, cv2.IMREAD_UNCHANGED).shape[1::-1]
    write_transforms(layout.transforms, size, camera, frames, clip.names, source)


def _take_place(staging: Layout, layout: Layout) -> None:
    """Move the finished data set to where it belongs, in place of one that is there."""
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.remove_leftovers()
    # Nothing of another data set's tracking stays.
    for path in (layout.transforms, layout.transforms_before_tracking, layout.tracking, layout.head):
        path.unlink(missing_ok=True)
    for made, place in zip(staging.pictures, layout.pictures, strict=True):
        shutil.rmtree(place, ignore_errors=True)
        if made.is_dir():
            made.rename(place)
    staging.transforms.rename(layout.transforms)


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
