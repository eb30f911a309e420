"""config.json: everything a run was told, and the versions it ran with. Plain JSON; reading it evaluates
nothing.

Reading tolerates what another version wrote: unknown options are left out and missing ones take their
default, both with a note for the log. A value of the wrong type or out of range is refused, naming file and
option.
"""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

from arguments.params import RETIRED, TRAIN_GROUPS, TrainConfig
from arguments.validation import check_ranges
from utils.errors import UserError
from utils.json_files import read_bounded, write_json

FORMAT = "gaussianhead config 1"


def save_config(config: TrainConfig, path: Path | str, versions: Mapping[str, str] | None = None) -> None:
    """Write a config as JSON, with the versions of what it ran on; the file appears whole or not at all."""
    groups = {name: asdict(getattr(config, name)) for name in TRAIN_GROUPS}
    document = {"format": FORMAT, "versions": dict(versions or {}), "given": sorted(config.given), **groups}
    write_json(path, document, indent=2, default=str)


def load_config(path: Path | str) -> TrainConfig:
    """Read what `save_config` wrote. Raises UserError with one line naming file and option."""
    document = _read_json(Path(path))
    stored = _stored_values(document, path)
    notes: list[str] = []
    groups = {name: _read_group(name, stored, path, notes) for name in TRAIN_GROUPS}
    known = {option.name for group in TRAIN_GROUPS.values() for option in fields(group)}
    for name in sorted(stored.keys() - known):
        if name not in RETIRED:
            notes.append(f"{path}: {stored[name].where} is unknown to this version, left out")
        elif stored[name].value != RETIRED[name]:
            notes.append(
                f"{path}: {stored[name].where} was an experiment and is gone; a model needs it no more"
            )
    given = document.get("given", [])
    if not isinstance(given, list):
        raise UserError(f"{path}: given: expected a list of option names, found {_kind(given)}")
    return TrainConfig(**groups, given=frozenset(known.intersection(map(str, given))), notes=tuple(notes))


class _Stored(NamedTuple):
    where: str
    value: Any


def _stored_values(document: dict, path: Path | str) -> dict[str, _Stored]:
    """Every option by its name alone: names are unique, and the group of one may differ between versions."""
    stored = {}
    for name in TRAIN_GROUPS:
        group = document.get(name, {})
        if not isinstance(group, dict):
            raise UserError(f"{path}: {name}: expected an object, found {_kind(group)}")
        stored |= {key: _Stored(f"{name}.{key}", value) for key, value in group.items()}
    return stored


def _read_json(path: Path) -> dict:
    try:
        document = json.loads(read_bounded(path).decode("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected the options of a trained avatar") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: line {error.lineno} column {error.colno}: not valid JSON ({error.msg})"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f'{path}: format: expected "{FORMAT}", as train.py of this version writes it')
    return document


def _read_group(name: str, stored: dict[str, _Stored], path: Path | str, notes: list[str]) -> Any:
    values = {}
    for option in fields(TRAIN_GROUPS[name]):
        if option.name in stored:
            where, value = stored[option.name]
            values[option.name] = _convert(value, option.type, f"{path}: {where}")
        else:
            notes.append(f"{path}: {name}.{option.name} is missing, taken as {option.default}")
    result = TRAIN_GROUPS[name](**values)
    check_ranges(result, where=f"{path}: {name}.")
    return result


def _convert(value: Any, kind: Any, where: str) -> Any:
    """Turn a JSON value into the type that an option declares."""
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = next(k for k in typing.get_args(kind) if k is not types.NoneType)
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_convert(item, typing.get_args(kind)[0], where) for item in value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind:
        return value
    expected = {Path: "a path", int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    raise UserError(f"{where}: expected {expected.get(kind, 'a list')}, found {_kind(value)}")


def _kind(value: Any) -> str:
    return json.dumps(value)[:60]
