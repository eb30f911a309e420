"""The writer: what a reader returned becomes a data set in this layout.

Lengths become head units, 16 bits become 8, plain pictures are copied bit for bit, masks are written as
<id + 1>.png, pictures of several cameras get one set of intrinsics (common_camera.py).
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from preparation.converters.common_camera import Common, common_camera
from preparation.converters.flame_frames import read_flame_frames
from preparation.converters.flashavatar import read_flashavatar
from preparation.converters.imavatar import read_imavatar
from preparation.converters.insta import read_insta
from preparation.converters.nerfblendshape import read_nerfblendshape
from preparation.converters.record import ForeignClip, ForeignFrame, eight_bits
from preparation.converters.vhap import read_vhap
from preparation.data_set.images_and_arrays import write_image
from preparation.data_set.layout import Layout
from preparation.data_set.transforms import FrameRows, write_transforms
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from scene.dataset_readers import read_clip, read_transforms
from utils.errors import UserError
from utils.files import why_not_writable
from utils.progress import track

# Arguments are the folder, and whether to be quiet.
READERS: dict[str, Callable[[Path, bool], ForeignClip]] = {
    "vhap": read_vhap,
    "gaussianavatars": read_vhap,
    "insta": read_insta,
    "flashavatar": read_flashavatar,
    "imavatar": read_imavatar,
    "nerfblendshape": read_nerfblendshape,
    "flame-frames": read_flame_frames,
}
# Far beyond any coefficient or length, well within what rounding takes.
_LARGEST_NUMBER = 1e12
_PURE_BLUE = (0, 0, 255)


class Converted(NamedTuple):
    """What was made."""

    num_frames: int
    notes: tuple[str, ...]


def convert(
    source_format: str,
    source: Path,
    out: Path,
    overwrite: bool = False,
    quiet: bool = False,
    check_data: bool = True,
) -> Converted:
    """Write the data set. Raises UserError that names the file.

    Everything is written beside `out` and looked at as train.py will, transforms.json and the sizes of all
    pictures before the first copy; then it takes its place. Where anything fails, `out` is as it was.
    """
    layout = Layout(out)
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; expected a data set of {source_format}")
    _check_places(source, out)
    if reason := why_not_writable(out):
        raise UserError(f"{out}: {reason}")
    if not overwrite:
        _check_nothing_is_replaced(layout)
    clip = READERS[source_format](source, quiet)
    _check_numbers(source, clip)
    sizes = _sizes(clip, quiet)
    common = common_camera(clip.frames, sizes)
    staging = Layout(out.with_name(f".{out.name}.{os.getpid()}.part"))
    _remove_staging(out)
    try:
        origin = {"format": source_format, "folder": source.resolve().name, "head_pose": clip.head_pose}
        _write_transforms(clip, common, staging, origin)
        read_transforms(staging.root)
        pairs = zip(clip.frames, sizes, strict=True)
        for frame, size in track(pairs, len(sizes), "copying frames", quiet=quiet):
            _copy(clip, frame, common, size, staging)
        read_clip(staging.root, check_data=check_data)
        _take_place(staging, layout)
    except UserError as error:
        raise UserError(_in_the_sources_names(str(error), clip, staging, out)) from None
    finally:
        shutil.rmtree(staging.root, ignore_errors=True)
    width, height = common.size
    warped = f"pictures are scaled and shifted to one camera's intrinsics, {width} x {height}"
    return Converted(len(sizes), clip.notes + (warped,) * common.is_warped)


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


def _check_nothing_is_replaced(layout: Layout) -> None:
    if layout.transforms.exists():
        raise UserError(
            f"{layout.root}: holds a data set; choose another folder, or replace it by --overwrite"
        )
    for folder in layout.pictures:
        if folder.exists():
            raise UserError(
                f"{layout.root}: holds {folder.name}/, which would be replaced; choose another folder, or "
                "replace it by --overwrite"
            )


def _in_the_sources_names(message: str, clip: ForeignClip, staging: Layout, out: Path) -> str:
    """A message about the staging folder, which nobody will find, told by the source's files or `out`."""
    for frame in clip.frames:
        image, matte = frame.image.path, (frame.matte or frame.image).path
        place = staging.image(frame.image_id)
        names = {place: image, place.with_suffix(".png"): image, staging.mask(frame.image_id): matte}
        for made, name in names.items():
            message = message.replace(f"{made}:", f"{name}:")
    return message.replace(str(staging.root), str(out))


def _check_numbers(source: Path, clip: ForeignClip) -> None:
    """Refuse what no data set can hold, naming the source's own files."""
    if not clip.frames:
        raise UserError(f"{source}: no frame has an image, a pose and an expression")
    seen = set()
    for frame in clip.frames:
        for path, what, values in (
            (frame.sources[0], f"{frame.image.name}: pose", frame.world_to_camera),
            (frame.sources[0], f"{frame.image.name}: intrinsics", frame.intrinsics),
            (frame.sources[1], "expression", frame.expression),
        ):
            if not np.isfinite(values).all():
                raise UserError(f"{path}: {what}: expected finite numbers, found NaN or infinity")
            if np.abs(values).max(initial=0) > _LARGEST_NUMBER:
                raise UserError(f"{path}: {what}: expected numbers up to {_LARGEST_NUMBER:g}")
        if frame.image_id in seen:
            raise UserError(
                f"{frame.sources[0]}: frame {frame.image.name} is there more than once; expected once"
            )
        seen.add(frame.image_id)
    usual = Counter(len(frame.expression) for frame in clip.frames).most_common(1)[0][0]
    for frame in clip.frames:
        if (length := len(frame.expression)) != usual:
            found = f"{length} expression coefficients; expected {usual} as in the other frames"
            raise UserError(f"{frame.sources[1]}: {found}")


def _sizes(clip: ForeignClip, quiet: bool) -> list[tuple[int, int]]:
    """Width and height of every picture; mattes and parsing maps must have those of their picture."""
    sizes = []
    for frame in track(clip.frames, len(clip.frames), "looking at pictures", quiet=quiet):
        size = frame.image.size()
        if frame.size_told not in (None, size):
            told, found = (f"{width} x {height}" for width, height in (frame.size_told, size))
            where = f"{frame.sources[0].name} tells its camera for {told}"
            raise UserError(f"{frame.image.path}: {found} pixels; {where}")
        if frame.matte is None and frame.image.lacks_alpha():
            raise frame.refused_without_matte()
        for other in (frame.matte, frame.parsing):
            if other is not None and (found := other.size()) != size:
                shown = f"{found[0]} x {found[1]} pixels; expected {size[0]} x {size[1]}"
                raise UserError(f"{other.path}: {shown} as its picture")
        if min(frame.intrinsics[0, 0], frame.intrinsics[1, 1]) <= 0:
            raise UserError(f"{frame.sources[0]}: {frame.image.name}: expected positive focal lengths")
        sizes.append(size)
    return sizes


def _write_transforms(clip: ForeignClip, common: Common, layout: Layout, source: dict) -> None:
    matrices = np.stack([frame.world_to_camera for frame in clip.frames])
    poses = Poses(matrices[:, :3, :3], clip.scale * matrices[:, :3, 3])
    camera = Camera(np.diag(common.intrinsics)[:2], common.intrinsics[:2, 2])
    ids = np.array([frame.image_id for frame in clip.frames])
    frames = FrameRows(ids, poses, np.stack([frame.expression for frame in clip.frames]))
    write_transforms(layout.transforms, common.size, camera, frames, clip.names, source)


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


def _copy(
    clip: ForeignClip, frame: ForeignFrame, common: Common, size: tuple[int, int], layout: Layout
) -> None:
    """Write image, matte and parsing map."""
    warp = common.warp(frame, size)
    matte, place = frame.read_matte(), layout.image(frame.image_id)
    suffix = frame.image.suffix_if_plain() if warp is None else None
    if suffix is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(frame.image.path, place.with_suffix(suffix))
    else:
        pixels = eight_bits(frame.image.read(cv2.IMREAD_UNCHANGED))
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels[..., :3]
        write_image(place.with_suffix(".png"), common.draw(np.ascontiguousarray(pixels), warp))
    write_image(layout.mask(frame.image_id), common.draw(matte, warp))
    if frame.parsing is not None:
        parsing = eight_bits(frame.parsing.read())
        if clip.find_head is not None:
            head = clip.find_head(parsing, matte)
            parsing = np.where(head[..., None], np.uint8(_PURE_BLUE), np.uint8(0))
        write_image(layout.parsing(frame.image_id), common.draw(parsing, warp, nearest=True))
