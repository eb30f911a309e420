"""One run in a folder at a time: a lock on an open file, which ends with its process, however that ends.

Where the system (Windows) or the file system has no such locks, nothing is locked.
"""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError

try:
    import fcntl
except ImportError:
    fcntl = None

LOCK_NAME = ".lock"


def try_lock(file: BinaryIO) -> bool | None:
    """Whether an open file could be locked; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some network file systems have none.
        return None
    return True


class FolderLock:
    """Holds a folder from `take` to `release`.

    The file stays: if it were removed, a second lock could be had on a new one of its name.
    """

    def __init__(self) -> None:
        self._file: BinaryIO | None = None

    def take(self, folder: Path) -> None:
        """Lock a folder that exists; nothing where this lock holds it already. Raises UserError where another
        process does, with its number."""
        if self._file is not None or fcntl is None:
            return
        file = (folder / LOCK_NAME).open("a+b")
        is_ours = try_lock(file)
        if is_ours is False:
            file.seek(0)
            holder = file.read(20).decode("ascii", "replace").strip() or "unknown"
            file.close()
            raise UserError(
                f"-m/--model_path {folder}: process {holder} trains there; wait for its end, or name another "
                "folder"
            )
        if is_ours is None:
            file.close()
            return
        self._file = file
        # Only to be shown; a full disk is none of this.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
