"""FlashAvatar's folder: imgs/<n>.jpg and alpha/<n>.jpg, n from 1.

The metrical tracker's checkpoint/<n - 1>.frame are beside them, or where its repository has them:
metrical-tracker/output/<id>/checkpoint next to dataset/<id>. parsing/<n>_neckhead.png becomes the head,
neck and all.
"""

from pathlib import Path

import numpy as np

from preparation.converters.files import number_in, numbered
from preparation.converters.flame_frames import MetricalFrame, read_metrical_frame
from preparation.converters.record import ForeignClip, ForeignFrame, Picture, numbered_names
from utils.progress import track


def read_flashavatar(root: Path, quiet: bool = True) -> ForeignClip:
    """Read FlashAvatar's pictures and the metrical tracker's checkpoints. Raises UserError."""
    frames, sizes = [], {}
    paths = numbered(_checkpoints(root), "*.frame")
    for path in track(paths, len(paths), "reading frames", quiet=quiet):
        tracked = read_metrical_frame(path)
        number = number_in(path.name) + 1
        images = [root / folder / f"{number:05d}.jpg" for folder in ("imgs", "alpha")]
        # The tracker is a frame ahead of the pictures at the end.
        if all(image.is_file() for image in images):
            frames.append(_frame(root, number, images, path, tracked))
            sizes = tracked.sizes
    clip = ForeignClip(frames, numbered_names(**sizes), find_head=_bright)
    return clip.without_some_parsing()


def _checkpoints(root: Path) -> Path:
    here = root / "checkpoint"
    there = root.resolve().parent.parent / "metrical-tracker" / "output" / root.resolve().name / "checkpoint"
    return there if not here.is_dir() and there.is_dir() else here


def _frame(root: Path, number: int, images: list[Path], path: Path, tracked: MetricalFrame) -> ForeignFrame:
    parsing = root / "parsing" / f"{number:05d}_neckhead.png"
    return ForeignFrame(
        number,
        *map(Picture, images),
        (path, path),
        tracked.world_to_camera,
        tracked.expression,
        tracked.intrinsics,
        Picture(parsing) if parsing.is_file() else None,
    )


def _bright(parsing: np.ndarray, matte: np.ndarray) -> np.ndarray:  # [H, W] bool
    return parsing.max(axis=-1) >= 128 if parsing.ndim == 3 else parsing >= 128
