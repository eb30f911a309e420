"""Files of named tensors and JSON metadata: checkpoints to resume from, and weights to use.

The format is safetensors (no code runs on loading); the metadata is one JSON text in its header, beside a
digest: the SHA-256 of the whole file with zeros where the digest stands, so that no bit can flip unseen.
Older files have none. A file appears under its name only when it is complete. Names are
iteration_N.safetensors.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from utils.errors import UserError
from utils.files import replacing, write_pieces

FORMAT = "gaussianhead"
FORMAT_VERSION = 1
# Bytes of a file and of its header; a checkpoint of the published method has 0.4 GB.
LARGEST_FILE, LARGEST_HEADER = 8 << 30, 64 << 20
_NO_DIGEST = "0" * 64
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')
# What a header holds, but for a digest: a file with one that is spelt otherwise is damaged, not old.
_KEYS = {"format", "format_version", "metadata"}
_ITERATION_NAME = re.compile(r"iteration_(\d+)\.safetensors")


class Checkpoint(NamedTuple):
    """What a file holds."""

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]


def save_checkpoint(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors (any device, shape, layout) and JSON-able metadata to `path`, completely or not at all.

    Makes the folder. Raises WriteError where the file system refuses.
    """
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "metadata": json.dumps(metadata),
        "digest": _NO_DIGEST,
    }
    # A copy each: safetensors refuses tensors that share memory.
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    content = memoryview(save(copies, metadata=header))
    place = _place_of_digest(content)
    assert place is not None, "the digest is not where it was put"
    digest = _digest_of(content, place).encode()
    with replacing(Path(path)) as partial:
        write_pieces(partial, (content[: place.start], digest, content[place.stop :]))


def load_checkpoint(path: str | Path, device: str = "cpu") -> Checkpoint:
    """Read what `save_checkpoint` wrote. Raises UserError where the file is missing, damaged or foreign."""
    path = Path(path)
    metadata = load_metadata(path)
    try:
        # From memory: the library opens no path whose name is not UTF-8.
        content = path.read_bytes()
        _check_digest(path, memoryview(content))
        tensors = load(content)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    return Checkpoint({name: tensor.to(device) for name, tensor in tensors.items()}, metadata)


def load_metadata(path: str | Path) -> dict[str, Any]:
    """Read only the metadata, whose digest is not looked at; raises as `load_checkpoint` does."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with open(path, "rb") as file:
            size, whole = int.from_bytes(file.read(8), "little"), path.stat().st_size
            if not 0 < size <= whole - 8:
                raise ValueError("its header does not end in the file")
            if size > LARGEST_HEADER or whole > LARGEST_FILE:
                raise ValueError(f"{whole} bytes with a header of {size}, too large for one of GaussianHead")
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


def _read_header(path: Path, header: Any) -> dict[str, Any]:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(f"{path}: a safetensors file, but not one that GaussianHead wrote")
    version = header.get("format_version")
    if version != str(FORMAT_VERSION):
        raise UserError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}; update it")
    if header.keys() not in (_KEYS, _KEYS | {"digest"}):
        raise UserError(f"{path}: damaged: its header names {', '.join(sorted(header))}")
    try:
        metadata = json.loads(header["metadata"])
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata is damaged ({error})") from error
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: its metadata is damaged (no JSON object)")
    return metadata


def _check_digest(path: Path, content: memoryview) -> None:
    """Compare a file with its digest, if it has one. Raises UserError."""
    place = _place_of_digest(content)
    if place is None:
        # `_read_header` has seen that there is none at all, or `"digest": ` in another spelling.
        if b'"digest"' in bytes(content[: _end_of_header(content)]):
            raise UserError(f"{path}: damaged: its digest is not one")
        return
    if _digest_of(content, place) != bytes(content[place.start : place.stop]).decode():
        raise UserError(f"{path}: damaged: its content is not what its digest says; copy it anew")


def _end_of_header(content: memoryview) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _place_of_digest(content: memoryview) -> slice | None:
    """Where the digest stands; quotes within the metadata are escaped, so that there is one such place."""
    match = _DIGEST.search(content, 8, _end_of_header(content))
    return slice(*match.span(1)) if match else None


def _digest_of(content: memoryview, place: slice) -> str:
    """SHA-256 of a file with zeros where its digest stands."""
    digest = hashlib.sha256(content[: place.start])
    digest.update(_NO_DIGEST.encode())
    digest.update(content[place.stop :])
    return digest.hexdigest()
