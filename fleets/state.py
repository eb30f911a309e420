"""How far a row is: state.json in its folder, written whole or not at all, and a lock for who works on it.

    {"stages": {"train": {"command": [...], "status": "done", "seconds": 18.2}, ...}}

`status` is running (so it stays where a process was killed), done, left out, or failed with `line`, the last
that the script said. A stage counts as done only with the command that the table asks for now.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fleets.stages import Plan, Stage
from utils.errors import UserError
from utils.json_files import read_json, write_json
from utils.locks import LOCK_NAME, try_lock

RUNNING, DONE, LEFT_OUT, FAILED = "running", "done", "left out", "failed"
SECONDS_BETWEEN_LOOKS = 0.2


class Outlook(NamedTuple):
    """Where a row stands: a stage that is next, runs or failed (None where all are done)."""

    stage: str | None
    status: str | None
    line: str
    seconds: float

    @property
    def is_over(self) -> bool:
        return self.stage is None or self.status == FAILED


def read_stages(plan: Plan) -> dict[str, dict[str, Any]]:
    """The record of each stage by name; none where nothing was begun. Raises UserError."""
    path = plan.folder / "state.json"
    stages = read_json(path).get("stages", {}) if path.is_file() else {}
    is_sound = isinstance(stages, dict) and all(
        isinstance(entry, dict) and {"command", "status"} <= entry.keys() for entry in stages.values()
    )
    if not is_sound:
        raise UserError(f"{path}: not as fleet.py writes it; remove {plan.folder} to make the row anew")
    return stages


def is_done(stage: Stage, records: dict[str, dict[str, Any]]) -> bool:
    return has_begun(stage, records) and records[stage.name]["status"] in (DONE, LEFT_OUT)


def has_begun(stage: Stage, records: dict[str, dict[str, Any]]) -> bool:
    """Whether a stage was begun with the command that it has now."""
    return stage.name in records and records[stage.name]["command"] == list(stage.command)


def next_stage(plan: Plan, records: dict[str, dict[str, Any]]) -> Stage | None:
    """The first stage that is not done; None at the end."""
    return next((stage for stage in plan.stages if not is_done(stage, records)), None)


def record(plan: Plan, stage: Stage, status: str, **more: Any) -> None:
    """Note what became of a stage; those after it are forgotten, since they rest on it."""
    records = read_stages(plan)
    names = [other.name for other in plan.stages]
    kept = {name: records[name] for name in names[: names.index(stage.name)] if name in records}
    entry = {"command": list(stage.command), "status": status, **more}
    write_json(plan.folder / "state.json", {"stages": {**kept, stage.name: entry}})


def outlook(plan: Plan) -> Outlook:
    """Where a row stands, from its file."""
    records = read_stages(plan)
    seconds = sum(entry.get("seconds", 0.0) for entry in records.values())
    stage = next_stage(plan, records)
    if stage is None:
        return Outlook(None, DONE, "", seconds)
    entry = records[stage.name] if has_begun(stage, records) else {}
    return Outlook(stage.name, entry.get("status"), entry.get("line", ""), seconds)


def forget_failure(plan: Plan) -> None:
    """Let a row that failed before be tried again."""
    records = read_stages(plan)
    stage = next_stage(plan, records)
    if stage is not None and has_begun(stage, records) and records[stage.name]["status"] == FAILED:
        record(plan, stage, RUNNING)


def record_loss(plan: Plan, line: str) -> None:
    """Let a row fail whose job ended without saying what became of it."""
    stage = next_stage(plan, read_stages(plan))
    if stage is not None and not outlook(plan).is_over:
        record(plan, stage, FAILED, line=line)


@contextlib.contextmanager
def holding(folder: Path, is_stopped: Callable[[], bool] = lambda: False) -> Iterator[BinaryIO | None]:
    """Hold a row, after whoever holds it has let go; gives the open file, which scripts inherit.

    So a script that outlived a killed fleet.py holds its row until it ends, and what it does is not lost.
    None where it was stopped before. Where a system has no such locks, nothing is held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_NAME).open("ab") as file:
        while try_lock(file) is False:
            if is_stopped():
                yield None
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)
        yield file
