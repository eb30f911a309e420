"""JSON files that appear whole or not at all."""

import json
import math
import os
from pathlib import Path
from typing import Any

from utils.errors import UserError


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a file that holds one JSON object. Raises UserError that names it."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {json.dumps(content)[:40]}")
    return content


def write_json(path: str | Path, content: Any) -> None:
    """Replace a file. Raises UserError where the file system refuses; what was there is then still there."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    text = json.dumps(content, indent=1) + "\n"
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error


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
