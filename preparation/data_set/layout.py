"""The folder of a data set: where its files are, what may be in it, what is replaced or gone on with."""

import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arguments import PreparationParams
from utils.errors import UserError
from utils.files import remove_leftovers
from utils.json_files import read_json, write_json

_BLOCK_BYTES = 1 << 20
# Options that are no part of what a data set is made from.
_WITHOUT_EFFECT = {
    *("out", "overwrite", "quiet", "models", "source_format", "check_data", "check_shots"),
    *("torso_only", "track_only", "keep"),
}


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set are (DESIGN.md, section 3)."""

    root: Path

    def image(self, image_id: int) -> Path:
        return self.root / "ori_imgs" / f"{image_id}.jpg"

    def mask(self, image_id: int) -> Path:
        # Off by one, as in the published data.
        return self.root / "mask" / f"{image_id + 1}.png"

    def parsing(self, image_id: int) -> Path:
        return self.root / "parsing" / f"{image_id}.png"

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The folders that hold a file for every frame."""
        return tuple(self.root / name for name in ("ori_imgs", "mask", "parsing"))

    @property
    def transforms(self) -> Path:
        return self.root / "transforms.json"

    @property
    def transforms_before_tracking(self) -> Path:
        """What transforms.json was before --track-only; from it, every later --track-only begins anew."""
        return self.root / "transforms_before_tracking.json"

    @property
    def tracking(self) -> Path:
        return self.root / "tracking.npz"

    @property
    def head(self) -> Path:
        """The person as numbers of the head model."""
        return self.root / "head.json"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def scratch(self) -> Path:
        """What finished steps found; gone once the data set is complete."""
        return self.root / ".prepare"

    @property
    def landmarks(self) -> Path:
        return self.scratch / "landmarks"

    def remove_leftovers(self) -> None:
        """Remove the files that a killed run left half-written."""
        for folder in (self.root, *self.pictures, self.report, self.scratch, self.landmarks):
            remove_leftovers(folder)


def open_output(layout: Layout, options: PreparationParams) -> None:
    """Make the folder, or go on with an unfinished one if its options are the same, else begin it again.

    Raises UserError where the folder holds other things.
    """
    root = layout.root
    wanted = fingerprint(options)
    unfinished = layout.scratch / "options.json"
    found = read_json(unfinished) if unfinished.is_file() else None
    if root.exists() and not root.is_dir():
        raise UserError(f"{root}: is a file; expected a folder to make")
    if found == wanted and not layout.transforms.exists():
        layout.remove_leftovers()
        return
    if root.is_dir() and any(root.iterdir()):
        is_unfinished = found is not None and not layout.transforms.exists()
        if not options.overwrite and not is_unfinished:
            what = "holds a data set" if layout.transforms.exists() else "is not empty"
            raise UserError(f"{root}: {what}; choose another folder, or replace it by --overwrite")
        _clear(layout)
    write_json(unfinished, wanted, allow_nan=False)


def fingerprint(options: PreparationParams) -> dict[str, Any]:
    """What makes an unfinished data set the same one: the video's content and the options that matter."""
    values = {name: value for name, value in asdict(options).items() if name not in _WITHOUT_EFFECT}
    digest = hashlib.sha256()
    with open(options.video, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    matting = options.matting and str(options.matting)
    return values | {"video": digest.hexdigest(), "matting": matting}


def _clear(layout: Layout) -> None:
    """Remove what an earlier run made; files of others stay."""
    for path in (layout.scratch, layout.report, *layout.pictures):
        shutil.rmtree(path, ignore_errors=True)
    for path in (layout.transforms, layout.transforms_before_tracking, layout.tracking, layout.head):
        path.unlink(missing_ok=True)
    layout.remove_leftovers()
