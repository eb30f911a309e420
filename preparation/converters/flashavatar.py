"""FlashAvatar's folder: imgs/<n>.jpg and alpha/<n>.jpg, n from 1.

The metrical tracker's checkpoint/<n - 1>.frame are beside them, or where its repository has them:
metrical-tracker/output/<id>/checkpoint next to dataset/<id>. parsing/<n>_neckhead.png becomes the head,
neck and all.
"""

from pathlib import Path

import numpy as np

from preparation.converters.files import number_in, numbered, pictures_by_number
from preparation.converters.flame_frames import MetricalFrame, read_metrical_frame
from preparation.converters.record import ForeignClip, ForeignFrame, Picture, numbered_names
from utils.errors import UserError
from utils.progress import track


def read_flashavatar(root: Path, quiet: bool = True) -> ForeignClip:
    """Read FlashAvatar's pictures and the metrical tracker's checkpoints. Raises UserError."""
    frames, sizes, left_out = [], {}, []
    paths = _checkpoints(root)
    images, mattes = (pictures_by_number(root / name) for name in ("imgs", "alpha"))
    for path in track(paths, len(paths), "reading frames", quiet=quiet):
        tracked = read_metrical_frame(path)
        number = number_in(path.name) + 1
        if number in images and number in mattes:
            frames.append(_frame(root, number, images[number], mattes[number], path, tracked))
            sizes = tracked.sizes
        elif number in images or number in mattes:
            folder = "alpha" if number in images else "imgs"
            raise UserError(f"{_expected(root, folder, number)}: missing; its {path.name} is there")
        else:
            left_out.append(number)
    if not frames:
        image = _expected(root, "imgs", number_in(paths[0].name) + 1)
        raise UserError(f"{image}: missing, as are all pictures of {paths[0].parent}")
    notes = _note_of([number for number in left_out if number < number_in(paths[-1].name) + 1])
    return ForeignClip(frames, numbered_names(**sizes), find_head=_bright, notes=notes).without_some_parsing()


def _checkpoints(root: Path) -> list[Path]:
    """The tracker's files, here or in its own repository. Raises UserError where there are none."""
    here = root / "checkpoint"
    there = root.resolve().parent.parent / "metrical-tracker" / "output" / root.resolve().name / "checkpoint"
    for folder in (here, there):
        if paths := numbered(folder, "*.frame"):
            return paths
    raise UserError(f"{here}: no <n>.frame; expected the metrical tracker's there, or in {there}")


def _expected(root: Path, folder: str, number: int) -> Path:
    return root / folder / f"{number:05d}.jpg"


def _note_of(left_out: list[int]) -> tuple[str, ...]:
    """Of frames without a picture; not of the last, since the tracker is a frame ahead at the end."""
    if not left_out:
        return ()
    few = ", ".join(map(str, left_out[:5])) + (", ..." if len(left_out) > 5 else "")
    have = "frame of the tracker has" if len(left_out) == 1 else "frames of the tracker have"
    return (f"{len(left_out)} {have} no picture in imgs/ and alpha/, left out: {few}",)


def _frame(
    root: Path, number: int, image: Path, matte: Path, path: Path, tracked: MetricalFrame
) -> ForeignFrame:
    parsing = root / "parsing" / f"{image.stem}_neckhead.png"
    return ForeignFrame(
        number,
        Picture(image),
        Picture(matte),
        (path, path),
        tracked.world_to_camera,
        tracked.expression,
        tracked.intrinsics,
        Picture(parsing) if parsing.is_file() else None,
    )


def _bright(parsing: np.ndarray, matte: np.ndarray) -> np.ndarray:  # [H, W] bool
    return parsing.max(axis=-1) >= 128 if parsing.ndim == 3 else parsing >= 128
