"""The folder of a data set in the making: what may be there, what is replaced, what is gone on with."""

import hashlib
import json
import shutil
from dataclasses import asdict
from typing import Any

from preparation.dataset_files import Layout
from preparation.options import Options
from utils.errors import UserError
from utils.json_files import write_json

_BLOCK = 1 << 20  # bytes


def open_output(layout: Layout, options: Options) -> None:
    """Make the folder, or go on with an unfinished one if its options are the same, else begin it again.

    Raises UserError where the folder holds other things.
    """
    root = layout.root
    wanted = fingerprint(options)
    unfinished = layout.work / "options.json"
    found = json.loads(unfinished.read_text()) if unfinished.is_file() else None
    if root.exists() and not root.is_dir():
        raise UserError(f"{root}: is a file; expected a folder to make")
    if found == wanted and not layout.transforms.exists():
        return
    if root.is_dir() and any(root.iterdir()):
        is_unfinished = found is not None and not layout.transforms.exists()
        if not options.overwrite and not is_unfinished:
            what = "holds a data set" if layout.transforms.exists() else "is not empty"
            raise UserError(f"{root}: {what}; choose another folder, or replace it by --overwrite")
        for path in (layout.work, layout.report, *(root / name for name in ("ori_imgs", "mask", "parsing"))):
            shutil.rmtree(path, ignore_errors=True)
        layout.transforms.unlink(missing_ok=True)
        layout.tracking.unlink(missing_ok=True)
    write_json(unfinished, wanted, allow_nan=False)


def fingerprint(options: Options) -> dict[str, Any]:
    """What makes an unfinished data set the same one: the video's content and the options that matter."""
    values = {
        name: value for name, value in asdict(options).items() if name not in ("out", "overwrite", "quiet")
    }
    digest = hashlib.sha256()
    with open(options.video, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return values | {"video": digest.hexdigest()}
