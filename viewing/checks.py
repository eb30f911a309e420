"""Checks of what comes in as JSON: each raises BadMessage, which names the field."""

import json
from typing import Any

from utils.json_files import shown


class BadMessage(ValueError):
    """A message that is not as it should be: the text names the field, what was expected and what was
    there."""


def parsed(text: str | bytes) -> dict:
    """The object of a message."""
    if isinstance(text, bytes):
        raise BadMessage("expected JSON as text, found bytes")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("expected JSON") from None
    if not isinstance(content, dict):
        raise BadMessage(f"expected a JSON object, found {kind_of(content)}")
    return content


def as_object(value: Any) -> dict:
    """A value that is an object."""
    if not isinstance(value, dict):
        raise BadMessage(f"expected an object, found {kind_of(value)}")
    return value


def number(content: dict, name: str, low: float, high: float, where: str = "") -> float:
    """A number of an object, within limits."""
    return checked(content.get(name), f"{where}{name}", low, high)


def whole(content: dict, name: str, low: int, high: int) -> int:
    """A whole number of an object, within limits."""
    value = number(content, name, low, high)
    if value != int(value):
        raise BadMessage(f"{name}: expected a whole number, found {value}")
    return int(value)


def numbers(content: dict, name: str, count: int, low: float, high: float) -> list[float]:
    """So many numbers of an object, within limits."""
    values = content.get(name)
    if not isinstance(values, list) or len(values) != count:
        found = f"{len(values)}" if isinstance(values, list) else kind_of(values)
        raise BadMessage(f"{name}: expected {count} numbers, found {found}")
    return [checked(value, name, low, high) for value in values]


def checked(value: Any, name: str, low: float, high: float) -> float:
    """A value that is a number within limits; `name` is for the message."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadMessage(f"{name}: expected a number, found {kind_of(value)}")
    # False for what is no number, too.
    if not low <= value <= high:
        raise BadMessage(f"{name}: expected a number from {low:g} to {high:g}, found {shown(value)}")
    return float(value)


def one_of(content: dict, name: str, known: tuple[str, ...]) -> str:
    """A value of an object that is one of those known."""
    if (value := content.get(name)) not in known:
        raise BadMessage(f"{name}: expected one of {', '.join(known)}, found {shown(value)}")
    return value


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    return {dict: "an object", list: "a list", str: "text", type(None): "nothing"}.get(
        type(value), shown(value)
    )
