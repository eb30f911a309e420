"""Files that are fetched once: the folder that the user names for them, the cache, the download, the check.

Shared by MediaPipe's models and the head model. A folder that is named is only read.
"""

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError

_TIMEOUT_SECONDS = 20
_CHUNK = 1 << 16


class NamedFolder(NamedTuple):
    """Where the user keeps model files, and how that was said."""

    path: Path
    flag: str


def named_folder(folder: Path | None) -> NamedFolder | None:
    """The folder of `--models`, else of the environment's GAUSSIANHEAD_MODELS, else None."""
    if folder:
        return NamedFolder(folder, "--models")
    path = os.environ.get("GAUSSIANHEAD_MODELS")
    return NamedFolder(Path(path), "GAUSSIANHEAD_MODELS") if path else None


def cache_folder() -> Path:
    """Where downloads go: the user's cache, by the XDG convention."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gaussianhead"


def read_url(url: str) -> Iterator[bytes]:
    """Yield what an address gives, in pieces. Raises UserError that says why it cannot be had."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            while chunk := answer.read(_CHUNK):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"cannot be downloaded ({getattr(error, 'reason', error) or type(error).__name__})"
        ) from None


def check_sha256(content: bytes, expected: str, name: str | Path, remedy: str) -> None:
    """Raise UserError where content is not what it must be; `remedy` says what to do then."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise wrong_digest(found, expected, name, remedy)


def wrong_digest(found: str, expected: str, name: str | Path, remedy: str) -> UserError:
    return UserError(
        f"{name}: SHA-256 {found[:16]}..., expected {expected[:16]}...: damaged or another version; {remedy}"
    )
