"""Running another command to its end."""

from __future__ import annotations

import subprocess
from pathlib import Path


def run(command: list[str | Path], **options) -> int:
    """Run a command and return its exit status; `options` are those of subprocess.Popen.

    Ctrl-C reaches the command as well, which may be writing a checkpoint: it is waited for.
    """
    return run_together([command], **options)[0]


def run_together(commands: list[list[str | Path]], **options) -> list[int]:
    """Run commands at the same time and return their exit statuses, as `run` does."""
    started = [subprocess.Popen([str(word) for word in command], **options) for command in commands]
    return [_end_of(process) for process in started]


def _end_of(process: subprocess.Popen) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            pass
