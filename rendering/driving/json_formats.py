"""JSON files of coefficients.

Audio2Face       {"exportFps": 30, "numPoses": P, "numFrames": N, "facsNames": [P], "weightMat": [N][P]}
ARKit, BEAT, LAM {"names": [P], "frames": [{"weights": [P], "time": seconds}]}
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from rendering.driving.sequence import DrivingSequence, evenly_timed
from utils.errors import UserError
from utils.json_files import is_number, read_json, shown


def read_driving_json(path: Path, default_rate: float) -> DrivingSequence:
    """Read either form; frames without a `time` play at `default_rate`. Raises UserError that names file and
    field."""
    document = read_json(path)
    if "weightMat" in document or "facsNames" in document:
        return _audio2face(path, document)
    if "names" in document and "frames" in document:
        return _named_frames(path, document, default_rate)
    raise UserError(
        f"{path}: expected names and frames (ARKit, BEAT, LAM) or facsNames and weightMat (Audio2Face), "
        f"found {', '.join(list(document)[:6]) or 'an empty object'}"
    )


def _audio2face(path: Path, document: dict) -> DrivingSequence:
    names = _names(path, document, "facsNames")
    rate = document.get("exportFps")
    if not is_number(rate) or rate <= 0:
        raise UserError(f"{path}: exportFps: expected frames per second, found {shown(rate)}")
    rows = _list(path, document, "weightMat")
    for key, count, what in (("numPoses", len(names), "facsNames"), ("numFrames", len(rows), "weightMat")):
        if document.get(key, count) != count:
            raise UserError(f"{path}: {key}: expected {count} as {what} has, found {shown(document[key])}")
    weights = [_weights(f"{path}: weightMat[{i}]", row, len(names)) for i, row in enumerate(rows)]
    return DrivingSequence(path, names, np.array(weights, np.float32), float(rate))


def _named_frames(path: Path, document: dict, default_rate: float) -> DrivingSequence:
    names = _names(path, document, "names")
    entries = _list(path, document, "frames")
    weights = []
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict) or "weights" not in entry:
            raise UserError(f"{path}: frames[{i}]: expected an object with weights, found {shown(entry)}")
        weights.append(_weights(f"{path}: frames[{i}].weights", entry["weights"], len(names)))
    coefficients, rate, notes = np.array(weights, np.float32), default_rate, ()
    if any("time" in entry for entry in entries):
        times = []
        for i, entry in enumerate(entries):
            if not is_number(entry.get("time")):
                found = shown(entry.get("time"))
                raise UserError(f"{path}: frames[{i}].time: expected seconds, found {found}")
            times.append(entry["time"])
        if len(times) > 1:
            coefficients, rate = evenly_timed(path, times, coefficients)
    else:
        notes = (f"{path}: frames have no time: taken as {rate:g} frames/s",)
    return DrivingSequence(path, names, coefficients, rate, notes=notes)


def _names(path: Path, document: dict, key: str) -> tuple[str, ...]:
    names = _list(path, document, key)
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: {key}: expected a list of names, found {shown(names)}")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{path}: {key}: '{name}' occurs {count} times; expected once")
    return tuple(names)


def _list(path: Path, document: dict, key: str) -> list:
    value = document.get(key)
    if not isinstance(value, list) or not value:
        found = shown(value) if key in document else "nothing"
        raise UserError(f"{path}: {key}: expected a list with something in it, found {found}")
    return value


def _weights(where: str, row: Any, count: int) -> list[float]:
    if not isinstance(row, list) or len(row) != count:
        found = f"{len(row)}" if isinstance(row, list) else shown(row)
        raise UserError(f"{where}: expected {count} numbers, one for each name, found {found}")
    for i, value in enumerate(row):
        if not is_number(value):
            raise UserError(f"{where}[{i}]: expected a number, found {shown(value)}")
    return row
