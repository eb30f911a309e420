"""Folders as others lay them out: which command makes a data set of one, for the end of a message."""

import json
import re
from pathlib import Path

from utils.errors import UserError
from utils.json_files import read_bounded


def layout_hint(root: Path, document: dict) -> str:
    """Which option reads a folder as others write it, for the end of a line; else nothing.

    document: the folder's transforms.json, empty where there is none.
    """
    if document:
        return _of_document(root, document)
    return _of_folder(root)


def _command(name: str, root: Path) -> str:
    return f"python prepare.py --from {name} {root} OUT"


def _first_frame(document: object) -> dict:
    entries = document.get("frames") if isinstance(document, dict) else None
    return entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}


def _of_document(root: Path, document: dict) -> str:
    entry = _first_frame(document)
    if "img_id" not in entry and "timestep_index" in entry:
        return f": its frames have timestep_index, as VHAP's; convert: {_command('vhap', root)}"
    if "img_id" not in entry and "file_path" in entry:
        return f": its frames have file_path, as INSTA's; convert: {_command('insta', root)}"
    if "exp_ori" not in entry and "exp" in entry:
        return ": frames have exp; this layout's name is exp_ori, rename it"
    return ""


def _of_folder(root: Path) -> str:
    """What a folder without transforms.json is."""
    split = root / "transforms_train.json"
    entry = _first_frame(_read(split)) if split.is_file() else {}
    if "timestep_index" in entry:
        return f"; its split files are GaussianAvatars'; convert: {_command('gaussianavatars', root)}"
    if "img_id" in entry and ("exp" in entry or "exp_ori" in entry):
        return f"; its split files have expressions; convert: {_command('nerfblendshape', root)}"
    if (root / "flame").is_dir():
        return f": its frames have file_path, as INSTA's; convert: {_command('insta', root)}"
    if split.is_file():
        return (
            "; transforms_train.json is there: split files of talking-head NeRFs have no expressions; "
            "prepare the video anew by python prepare.py VIDEO OUT"
        )
    patterns = ("flame_params.json", "*/flame_params.json", "*/*/flame_params.json")
    if any(next(root.glob(pattern), None) for pattern in patterns):
        return f"; IMavatar's folders are read by {_command('imavatar', root)}"
    is_plain_tracker = not (root / "imgs").is_dir() and any((root / n).is_dir() for n in ("images", "input"))
    if (root / "checkpoint").is_dir() and not is_plain_tracker:
        return f"; FlashAvatar's folders are read by {_command('flashavatar', root)}"
    if (root / "imgs").is_dir() and (root / "alpha").is_dir():
        return f"; FlashAvatar's folders are read by {_command('flashavatar', root)}"
    if next(root.glob("tracked_flame_params_*.npz"), None):
        return "; tracked by VHAP: export it by VHAP's own script, then prepare.py --from vhap EXPORT OUT"
    is_numbered = re.compile(r"\d+\.(npz|frame)").fullmatch
    if (root / "checkpoint").is_dir() or any(is_numbered(path.name) for path in root.iterdir()):
        return f"; a tracker's files of frames are read by {_command('flame-frames', root)}"
    return ""


def _read(path: Path) -> object:
    try:
        return json.loads(read_bounded(path).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError, UserError):
        # What is wrong with it is said by who converts it.
        return {}
