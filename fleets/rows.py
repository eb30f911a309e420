"""The table of fleet.py: a CSV whose every row is a person, read and checked before anything starts."""

import contextlib
import csv
import difflib
import io
import os
import re
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from arguments import parse_prepare_args, parse_train_args
from arguments.params import TRAIN_GROUPS
from utils.errors import UserError
from utils.json_files import read_bounded

# Columns that are no options of train.py.
NAME, SOURCE, OPTIONS, PREPARE_OPTIONS = "name", "source", "options", "prepare_options"
OWN_COLUMNS = (NAME, SOURCE, OPTIONS, PREPARE_OPTIONS)
TRAIN_OPTIONS = {option.name: option for group in TRAIN_GROUPS.values() for option in fields(group)}
# What fleet.py says itself.
RESERVED = ("source_path", "model_path", "resume", "overwrite", "device", "viewer", "viewer_port", "quiet")
# What Excel writes between cells: commas, semicolons where decimals have commas, tabs as "text".
DELIMITERS = ",;\t"
COMMENT = "#"
_NAME = re.compile(r"\w[\w.-]*")


class Row(NamedTuple):
    """A person: `source` is a video, or the folder of a data set; flags are as on a command line."""

    name: str
    source: Path
    is_video: bool
    train_flags: tuple[str, ...]
    prepare_flags: tuple[str, ...]


def read_rows(path: Path) -> list[Row]:
    """Read and check a table; paths in it are relative to where the script runs. Raises UserError that names
    the line."""
    header, lines = _read_csv(path)
    _check_header(header, path)
    rows, seen = [], {}
    for number, cells in lines:
        where = f"{path}, line {number}"
        row = _row(dict(zip(header, cells)), where)
        # Folders of file systems that do not tell cases apart.
        before = seen.setdefault(row.name.casefold(), number)
        if before != number:
            raise UserError(f"{where}: the name {row.name} is that of line {before} already")
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: no rows; expected one for each person, under the columns")
    return rows


def _read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and every row that is not empty or a comment with the number of its last line."""
    try:
        text = read_bounded(path).decode("utf-8-sig")
        form = {"delimiter": _delimiter_of(text), "strict": True, "skipinitialspace": True}
        reader = csv.reader(io.StringIO(text, newline=""), **form)
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected UTF-8; in Excel save it as CSV UTF-8 ({error})") from error
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
    lines = [(number, cells) for number, cells in lines if any(cells) and not cells[0].startswith(COMMENT)]
    # Columns that a spreadsheet's user has emptied.
    used = max((place + 1 for _, cells in lines for place, cell in enumerate(cells) if cell), default=0)
    lines = [(number, cells[:used]) for number, cells in lines]
    header = [_column(cell) for cell in lines[0][1]] if lines else []
    for number, cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {number}: {len(cells)} cells; expected {len(header)}, as columns")
    return header, lines[1:]


def _delimiter_of(text: str) -> str:
    """What is between the cells of the header."""
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith(COMMENT))
    return max(DELIMITERS, key=next(lines, "").count)


def _column(cell: str) -> str:
    """A column's name as options are spelled, which the table may write as --seed or Seed."""
    name = cell.removeprefix("--")
    known = {known.casefold(): known for known in (*OWN_COLUMNS, *TRAIN_OPTIONS)}
    return known.get(name.casefold(), name)


def _check_header(header: list[str], path: Path) -> None:
    for name in (NAME, SOURCE):
        if name not in header:
            found = ", ".join(header) or "nothing"
            expected = "expected commas, semicolons or tabs between columns"
            raise UserError(f"{path}: no column {name}; {expected}, found {found}")
    for name in header:
        if header.count(name) > 1:
            raise UserError(f"{path}: two columns {name}")
        if name in RESERVED:
            raise UserError(f"{path}, column {name}: fleet.py says that itself; expected another option")
        if name not in (*OWN_COLUMNS, *TRAIN_OPTIONS):
            close = difflib.get_close_matches(name, [*OWN_COLUMNS, *TRAIN_OPTIONS], n=1)
            hint = f"; did you mean {close[0]}?" if close else "; see python train.py --help"
            raise UserError(f"{path}, column {name or '(empty)'}: no option of train.py{hint}")


def _row(cells: dict[str, str], where: str) -> Row:
    name, text = cells[NAME], cells[SOURCE]
    if not _NAME.fullmatch(name) or name.endswith("."):
        shown = name or "nothing"
        raise UserError(f"{where}, name {shown}: expected letters, digits, '_', '-' and '.', no slashes")
    if not text:
        raise UserError(f"{where}, source: nothing there; expected a video, or the folder of a data set")
    source = Path(os.path.abspath(Path(text).expanduser()))
    if not source.exists():
        raise UserError(f"{where}, source {text}: no such file or folder (seen from {Path.cwd()})")
    if source.is_dir() and not (source / "transforms.json").is_file():
        raise UserError(f"{where}, source {text}: holds no transforms.json; expected a data set or a video")
    train_flags = _train_flags(cells, where)
    prepare_flags = tuple(_words(cells.get(PREPARE_OPTIONS, ""), PREPARE_OPTIONS, where))
    _check_flags(train_flags, where)
    if prepare_flags and source.is_dir():
        raise UserError(f"{where}, {PREPARE_OPTIONS}: only goes with a video")
    if prepare_flags:
        _check_prepare_flags(source, prepare_flags, where)
    return Row(name, source, source.is_file(), train_flags, prepare_flags)


def _train_flags(cells: dict[str, str], where: str) -> tuple[str, ...]:
    flags = []
    for name, text in cells.items():
        if name not in OWN_COLUMNS and text:
            # Lists have several words, a path may have blanks.
            is_list = isinstance(TRAIN_OPTIONS[name].default, tuple)
            flags += [f"--{name}", *(text.split() if is_list else [text])]
    return (*flags, *_words(cells.get(OPTIONS, ""), OPTIONS, where))


def _words(text: str, column: str, where: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(f"{where}, {column}: {error}") from error


def _check_flags(flags: tuple[str, ...], where: str) -> None:
    """Let train.py's own command line judge, with a folder that exists in place of the clip."""
    source, out = Path.cwd(), Path(tempfile.gettempdir()) / "fleet.none"
    config = parsed(parse_train_args, ["-s", str(source), "-m", str(out), "--eval", *flags], where)
    changed = {
        "source_path": config.model.source_path != source,
        "model_path": config.model.model_path != out,
    }
    for name in RESERVED:
        if changed.get(name, name in config.given):
            raise UserError(f"{where}, --{name}: fleet.py says that itself; expected another option")
    if not config.model.eval:
        raise UserError(f"{where}, --eval False: rows are scored on the frames that training leaves out")


def parsed(parse: Callable[[list[str]], Any], flags: list[str], where: str) -> Any:
    """What a script's own command line makes of flags. Raises UserError that begins with `where`."""
    try:
        # argparse prints a page of help and exits with 0.
        with contextlib.redirect_stdout(io.StringIO()):
            return parse(flags)
    except SystemExit:
        raise UserError(f"{where}: --help makes no avatar; expected other options") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _check_prepare_flags(source: Path, flags: tuple[str, ...], where: str) -> None:
    params = parsed(parse_prepare_args, [str(source), "out", *flags], f"{where}, {PREPARE_OPTIONS}")
    if params.torso_only or params.track_only or params.source_format or params.is_csv_only:
        raise UserError(f"{where}, {PREPARE_OPTIONS}: expected options for a video")
    if params.video != source or params.out != Path("out") or params.overwrite:
        raise UserError(f"{where}, {PREPARE_OPTIONS}: video, folder and --overwrite are fleet.py's to say")
