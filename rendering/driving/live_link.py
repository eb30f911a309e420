"""CSV of Live Link Face (`*_iPhone_cal.csv`), which Unreal imports: one row a frame, columns by name.

Timecode HH:MM:SS:FF.mmm is the frame within the second; how many a second has is inferred from the largest.
Rows in which no face was tracked have no values; the motion is interpolated over them.
"""

import csv
import io
import math
import re
from pathlib import Path

import numpy as np

from rendering.driving.head_angles import angles_of, rotations_of
from rendering.driving.sequence import DrivingSequence, evenly_timed
from utils.errors import UserError
from utils.files import write_text
from utils.json_files import read_bounded

_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
_SIDES = ("Left", "Right")
# ARKit's 52, in the order of the file.
ARKIT_NAMES = (
    *(f"eye{what}{side}" for side in _SIDES for what in _EYE),
    *("jawForward", "jawRight", "jawLeft", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft"),
    *(f"mouth{what}{side}" for what in ("Smile", "Frown", "Dimple", "Stretch") for side in _SIDES),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *(f"mouth{what}{side}" for what in ("Press", "LowerDown", "UpperUp") for side in _SIDES),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
HEAD_ANGLES = ("HeadYaw", "HeadPitch", "HeadRoll")
EYE_ANGLES = tuple(f"{side}Eye{angle}" for side in _SIDES for angle in ("Yaw", "Pitch", "Roll"))

_CANONICAL = {name.lower(): name for name in ARKIT_NAMES}
_HEAD = tuple(name.lower() for name in HEAD_ANGLES)
_NO_COEFFICIENTS = {"timecode", "blendshapecount", *_HEAD, *(name.lower() for name in EYE_ANGLES)}
# Frames to which timecodes count in a second; a file that sees no second end has one of the usual ones.
_COUNTS, _USUAL_COUNTS, _MOST_COUNTED = (24, 25, 30, 48, 50, 60, 100, 120, 240), (30, 60, 120, 240), 240
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)")
_DAY = 24 * 3600.0
# Radians: no head turns farther.
_LARGEST_ANGLE = 1.6


def read_live_link(path: Path, default_rate: float, in_degrees: bool = False) -> DrivingSequence:
    """Read a CSV, columns in any order and case; without timecodes it plays at `default_rate`.

    Raises UserError that names file, line and column.
    """
    header, rows = _table(path)
    columns = [i for i, name in enumerate(header) if name not in _NO_COEFFICIENTS]
    known = [i for i in columns if header[i] in _CANONICAL]
    if not known:
        raise UserError(f"{path}: line 1: expected columns such as JawOpen and EyeBlinkLeft, found none")
    angle_columns = [header.index(name) for name in _HEAD] if set(_HEAD) <= set(header) else []
    is_tracked = [any(row[i].strip() for i in known) for _, row in rows]
    tracked = [numbered for numbered, good in zip(rows, is_tracked, strict=True) if good]
    if not tracked:
        raise UserError(f"{path}: expected rows with coefficients, found none")
    values = np.array(
        [
            [_number(path, line, header[i], row[i]) for i in (*columns, *angle_columns)]
            for line, row in tracked
        ]
    )
    rate, notes = default_rate, []
    if len(tracked) < len(rows):
        notes.append(f"{path}: {len(rows) - len(tracked)} rows without a face, left out")
    if "timecode" in header:
        times = _seconds(path, [(line, row[header.index("timecode")]) for line, row in tracked])
        if len(times) > 1:
            values, rate = evenly_timed(path, times, values)
    else:
        notes.append(f"{path}: no Timecode: taken as {rate:g} frames/s")
    rotations = None
    if angle_columns:
        angles = np.deg2rad(values[:, -3:]) if in_degrees else values[:, -3:]
        if np.abs(angles).max() > _LARGEST_ANGLE:
            where = f"{path}: HeadYaw, HeadPitch, HeadRoll reach {np.abs(values[:, -3:]).max():.3g}"
            hint = "" if in_degrees else "; where these are degrees: --driving_angles degrees"
            notes.append(f"{where}, more than a head turns{hint}")
        rotations = rotations_of(angles)
    # What ARKit does not have keeps its name.
    names = tuple(_CANONICAL.get(header[i], header[i]) for i in columns)
    coefficients = values[:, : len(columns)].astype(np.float32)
    return DrivingSequence(path, names, coefficients, rate, rotations, notes=tuple(notes))


def write_live_link(path: Path, sequence: DrivingSequence) -> None:
    """Write a sequence as Live Link Face does: 61 values, angles in radians, eyes at rest, coefficients in
    [0, 1].

    What ARKit does not have is left out, what the sequence lacks is 0. Raises UserError where it has none of
    ARKit's names.
    """
    check_arkit_names(sequence.source, sequence.names)
    place = {name: i for i, name in enumerate(sequence.names)}
    columns = [
        sequence.coefficients[:, place[name]] if name in place else np.zeros(len(sequence))
        for name in ARKIT_NAMES
    ]
    angles = np.zeros((len(sequence), 3)) if sequence.rotations is None else angles_of(sequence.rotations)
    table = np.column_stack(
        [np.stack(columns, axis=1).clip(0, 1), angles, np.zeros((len(sequence), len(EYE_ANGLES)))]
    )
    count = table.shape[1]
    written = [f"{name[0].upper()}{name[1:]}" for name in ARKIT_NAMES]
    lines = [",".join(["Timecode", "BlendShapeCount", *written, *HEAD_ANGLES, *EYE_ANGLES])]
    for i, row in enumerate(table):
        numbers = ",".join(f"{value:.8f}" for value in row)
        lines.append(f"{_timecode(i / sequence.rate, sequence.rate)},{count},{numbers}")
    write_text(path, "\n".join(lines) + "\n")


def check_arkit_names(source: Path, names: tuple[str, ...] | None) -> None:
    """Refuse coefficients of which none is ARKit's."""
    if names is None or not set(ARKIT_NAMES) & set(names):
        found = ", ".join(names[:6]) if names else "no names"
        raise UserError(f"{source}: --write_csv: expected coefficients with ARKit's names, found {found}")


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Column names in small letters, and the rows with their line numbers."""
    try:
        reader = csv.reader(io.StringIO(read_bounded(path).decode("utf-8-sig"), newline=""))
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from None
    if not lines:
        raise UserError(f"{path}: expected a header and rows, found nothing")
    header = [cell.strip().lower() for cell in lines[0][1]]
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice:
        raise UserError(f"{path}: line 1: column {twice} occurs {header.count(twice)} times; expected once")
    for line, row in lines[1:]:
        if len(row) != len(header):
            raise UserError(f"{path}: line {line}: expected {len(header)} columns, found {len(row)}")
    return header, lines[1:]


def _number(path: Path, line: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        name = _CANONICAL.get(column, column)
        raise UserError(f"{path}: line {line}: {name}: expected a number, found '{text.strip()}'")
    return value


def _seconds(path: Path, timecodes: list[tuple[int, str]]) -> list[float]:
    """Seconds of timecodes (line number and text), rising over midnight."""
    parts = []
    for line, text in timecodes:
        match = _TIMECODE.fullmatch(text.strip())
        if not match:
            raise UserError(
                f"{path}: line {line}: Timecode: expected HH:MM:SS:FF.mmm, found '{text.strip()}'"
            )
        parts.append((3600 * int(match[1]) + 60 * int(match[2]) + int(match[3]), float(match[4])))
    largest = max(frame for _, frame in parts)
    if len({whole for whole, _ in parts}) > 1:
        # The last frame of a second, or the one before it, if it was dropped.
        count = int(largest) + 1
        count += count + 1 in _COUNTS and count not in _COUNTS
    else:
        count = next((count for count in _USUAL_COUNTS if largest < count), _MOST_COUNTED)
    if largest >= _MOST_COUNTED:
        raise UserError(f"{path}: Timecode: expected frames within the second, found {largest:g}")
    times, days = [], 0
    for whole, frame in parts:
        time = whole + frame / count + _DAY * days
        if times and time < times[-1] - _DAY / 2:
            days += 1
            time += _DAY
        times.append(time)
    return times


def _timecode(seconds: float, rate: float) -> str:
    count = max(1, math.ceil(rate - 1e-6))
    # Thousandths of a frame, so that nothing is rounded up to a second of its own.
    ticks = round(seconds * count * 1000)
    whole, ticks = divmod(ticks, count * 1000)
    frame, fraction = divmod(ticks, 1000)
    return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{frame:02d}.{fraction:03d}"
