"""One run of benchmarks/results.py: train, render, score, each as a user would; what was done is kept.

FOLDER/benchmark.json says which commands the run was begun with and whether it is complete; what they printed
is in FOLDER/benchmark.log.
"""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tools import processes
from utils.json_files import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent


class Run(NamedTuple):
    """One training run of the table; `commands` train, render and score."""

    source: Path
    row: str
    seed: int
    folder: Path
    commands: list[list[str]]

    def __str__(self) -> str:
        return f"{self.source.name} {self.row} seed {self.seed}"


def execute(run: Run) -> str:
    """Train, render, score; return what went wrong in one line, if anything did."""
    begin, *others = run.commands
    if has_begun(run) and any((run.folder / "checkpoints").glob("*.safetensors")):
        begin = ["train.py", "-m", str(run.folder), "--resume"]
    else:
        begin = [*begin, "--overwrite"]
        run.folder.mkdir(parents=True, exist_ok=True)
        write_json(_state_path(run), {"commands": run.commands, "is_complete": False})
    log = run.folder / "benchmark.log"
    for script, *arguments in (begin, *others):
        with log.open("a", encoding="utf-8") as file:
            print(f"$ python {shlex.join([script, *arguments])}", file=file, flush=True)
            output = {"stdout": file, "stderr": file, "stdin": subprocess.DEVNULL}
            status = processes.run([sys.executable, ROOT / script, *arguments], **output)
        if status:
            last = log.read_text(encoding="utf-8").strip().splitlines()[-1]
            return f"FAILED, {script} ended with {status}: {last} ({log})"
    write_json(_state_path(run), {"commands": run.commands, "is_complete": True})
    return ""


def has_begun(run: Run) -> bool:
    """Whether the run was begun with the same commands."""
    path = _state_path(run)
    return path.is_file() and read_json(path).get("commands") == run.commands


def is_complete(run: Run) -> bool:
    return has_begun(run) and bool(read_json(_state_path(run)).get("is_complete"))


def _state_path(run: Run) -> Path:
    return run.folder / "benchmark.json"
