"""Files that appear under their name only when they are complete; the one place that writes them so.

A file is written beside its place, as .NAME.PID.part.SUFFIX, flushed to disk, and renamed. What is read at
the same time is the old file or the new one; what a killed process leaves is never taken for a file.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from utils.errors import WriteError

_LEFTOVER = re.compile(r"\..+\.\d+\.part(\.[^.]+)?")


@contextlib.contextmanager
def replacing(path: str | Path, is_flushed: bool = True) -> Iterator[Path]:
    """Give the path at which to write what becomes `path` when the block ends without an exception.

    Makes the folder. `is_flushed`: waits until it is on the disk; pictures by the hundred need not.
    Raises WriteError where the file system refuses, inside the block or at its end; what was there is then
    still there.
    """
    path, partial = Path(path), partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if is_flushed:
            flush(partial)
        os.replace(partial, path)
        if is_flushed:
            flush(path.parent)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Replace a file. Raises WriteError where the file system refuses."""
    with replacing(path) as partial:
        write_pieces(partial, (content,))


def write_pieces(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write one piece after the other to a new file. Raises OSError."""
    with open(path, "wb", buffering=0) as file:
        for piece in pieces:
            rest = memoryview(piece)
            # Without a buffer a write may take less than it is given.
            while len(rest):
                rest = rest[file.write(rest) :]


def write_text(path: str | Path, text: str) -> None:
    """Replace a text file, in UTF-8; a path in it that is not (its name came in other bytes) keeps its bytes.

    Raises WriteError where the file system refuses.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def why_not_writable(folder: str | Path) -> str | None:
    """Why nothing can be written into a folder, which need not exist yet; None where it can."""
    folder = Path(folder).absolute()
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not existing.is_dir():
        return f"{existing} is a file; expected a folder"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"no right to write into {existing}"
    return None


def remove_leftovers(folder: str | Path) -> None:
    """Remove what killed processes left half-written directly in `folder`, which need not exist."""
    folder = Path(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        if _LEFTOVER.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def partial_path(path: str | Path) -> Path:
    """Name the file in which `path` is written until it is complete."""
    path = Path(path)
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def put_in_place(partial: Path, path: Path) -> None:
    """Give a complete file its name, on the disk too. Raises OSError."""
    flush(partial)
    os.replace(partial, path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Does nothing for folders on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
