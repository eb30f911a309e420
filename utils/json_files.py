"""JSON files that appear whole or not at all."""

import json
import math
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import write_text

# Bytes; the tracking of 20,000 frames has 80 million.
LARGEST_TEXT = 1 << 28


def read_bounded(path: Path) -> bytes:
    """The content of a text file that fits into memory some times over. Raises OSError or UserError."""
    size = path.stat().st_size
    if size > LARGEST_TEXT:
        raise UserError(f"{path}: {size} bytes; expected at most {LARGEST_TEXT}")
    return path.read_bytes()


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a file that holds one JSON object. Raises UserError that names it."""
    path = Path(path)
    try:
        content = json.loads(read_bounded(path).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {shown(content)}")
    return content


def write_json(
    path: str | Path, content: Any, *, indent: int | None = 1, allow_nan: bool = True, default=None
) -> None:
    """Replace a file. Raises UserError where the file system refuses; what was there is then still there.

    `allow_nan=False` refuses numbers that JSON lacks, by ValueError. `default` is that of `json.dumps`.
    """
    write_text(path, json.dumps(content, indent=indent, allow_nan=allow_nan, default=default) + "\n")


def update_json(path: str | Path, values: dict[str, Any]) -> None:
    """Set some keys of an object in a file, which need not be there yet, and keep the others."""
    before = read_json(path) if Path(path).is_file() else {}
    write_json(path, {**before, **values})


def finite(numbers: dict[str, Any]) -> dict[str, Any]:
    """Replace what JSON cannot hold by null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }


def is_number(value: Any) -> bool:
    """Whether a value of a document is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def shown(value: Any) -> str:
    """A value of a document as a message shows it: in JSON, shortened."""
    try:
        text = json.dumps(value)
    except RecursionError:
        return "lists within lists"
    return text if len(text) <= 40 else text[:37] + "..."
