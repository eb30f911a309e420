"""Files of named tensors and JSON metadata: checkpoints to resume from, and weights to use.

The format is safetensors (no code runs on loading); the metadata is one JSON text in its header. A file
appears under its name only when it is complete. Names are iteration_N.safetensors.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from utils.errors import UserError
from utils.files import replacing

FORMAT = "gaussianhead"
FORMAT_VERSION = 1
_ITERATION_NAME = re.compile(r"iteration_(\d+)\.safetensors")


class Checkpoint(NamedTuple):
    """What a file holds."""

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]


def save_checkpoint(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors (any device, shape, layout) and JSON-able metadata to `path`, completely or not at all.

    Makes the folder. Raises UserError where the file system refuses.
    """
    path = Path(path)
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "metadata": json.dumps(metadata),
    }
    # A copy each: safetensors refuses tensors that share memory.
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as partial:
        # safetensors makes a file that only its owner reads; a new one has what the user's umask asks for.
        partial.touch()
        permissions = partial.stat().st_mode
        try:
            save_file(copies, partial, metadata=header)
        except SafetensorError as error:
            raise UserError(f"{path}: cannot be written: {error}") from error
        partial.chmod(permissions)


def load_checkpoint(path: str | Path, device: str = "cpu") -> Checkpoint:
    """Read what `save_checkpoint` wrote. Raises UserError where the file is missing, damaged or foreign."""
    path = Path(path)
    metadata = load_metadata(path)
    try:
        # From memory: the library opens no path whose name is not UTF-8.
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    return Checkpoint({name: tensor.to(device) for name, tensor in tensors.items()}, metadata)


def load_metadata(path: str | Path) -> dict[str, Any]:
    """Read only the metadata; raises as `load_checkpoint` does."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size <= path.stat().st_size - 8:
                raise ValueError("its header does not end in the file")
            header = json.loads(file.read(size))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    return _read_header(path, header.get("__metadata__") if isinstance(header, dict) else None)


def iteration_path(folder: str | Path, iteration: int) -> Path:
    """Name the file of an iteration in `folder`."""
    return Path(folder) / f"iteration_{iteration}.safetensors"


def list_iterations(folder: str | Path) -> list[int]:
    """List the iterations that have a file in `folder`, ascending; none where there is no folder."""
    folder = Path(folder)
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(match[1]) for match in map(_ITERATION_NAME.fullmatch, names) if match)


def find_iteration(folder: str | Path, iteration: int | None = None) -> Path:
    """Find the file of `iteration`, or of the latest. Raises UserError that says what is there instead."""
    found = list_iterations(folder)
    if not found:
        raise UserError(f"{folder}: expected iteration_N.safetensors, found none")
    # The family writes -1 for "the latest".
    if iteration is None or iteration < 0:
        return iteration_path(folder, found[-1])
    if iteration not in found:
        there = ", ".join(map(str, found))
        raise UserError(f"--iteration {iteration}: not in {folder}, which holds {there}")
    return iteration_path(folder, iteration)


def _damaged(path: Path, error: Exception) -> UserError:
    if isinstance(error, OSError):
        return UserError(f"{path}: cannot be read ({error.strerror})")
    return UserError(f"{path}: damaged or no safetensors file ({error})")


def _read_header(path: Path, header: dict[str, str] | None) -> dict[str, Any]:
    if not header or header.get("format") != FORMAT:
        raise UserError(f"{path}: a safetensors file, but not one that GaussianHead wrote")
    version = header.get("format_version")
    if version != str(FORMAT_VERSION):
        raise UserError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}; update it")
    try:
        return json.loads(header["metadata"])
    except (KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: its metadata is damaged ({error})") from error
