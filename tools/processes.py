"""Running another command to its end."""

from __future__ import annotations

import subprocess
from pathlib import Path


def run(command: list[str | Path], **options) -> int:
    """Run a command and return its exit status; `options` are those of subprocess.Popen.

    Ctrl-C reaches the command as well, which may be writing a checkpoint: it is waited for.
    """
    process = subprocess.Popen([str(word) for word in command], **options)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            pass
