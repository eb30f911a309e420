"""Runs training and reading in processes of their own, forked from one that has everything imported.

python -m tests.reliability.runner reads jobs from stdin, a line of JSON each, and answers each with a line:
{"train": [flags], "log": path, "fault": {...}} -> {"pid": n}, {"wait": pid, "seconds": s} -> {"code": n}.
A code is that of the process, or minus the signal that ended it.

A fault is {"at": n, "how": "before" | "half" | "after"}: at the n-th write, fsync or rename of a saved file
the process kills itself as `kill -9` does. {"at": 0} only lists what there is, into the log.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


class Fault:
    """Counts what a save does to the disk, and kills at one of these."""

    def __init__(self, at: int, how: str = "before") -> None:
        self.at, self.how, self.seen = at, how, 0

    def install(self) -> None:
        from utils import checkpoint, files

        for name in ("fsync", "replace"):
            setattr(os, name, self._hooked(name, getattr(os, name)))
        write = self._hooked("write", files.write_pieces, self._half_written)
        files.write_pieces = checkpoint.write_pieces = write

    def _hooked(self, name, function, half=None):
        def hooked(*args, **kwargs):
            self.seen += 1
            if self.at == 0:
                print(f"event {name}", file=sys.stderr, flush=True)
            if self.seen != self.at:
                return function(*args, **kwargs)
            if self.how == "half" and half is not None:
                half(*args)
            if self.how == "after":
                function(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        return hooked

    def _half_written(self, path, pieces) -> None:
        content = b"".join(map(bytes, pieces))
        Path(path).write_bytes(content[: len(content) // 2])


def run_training(flags: list[str], log: str, fault: dict | None) -> int:
    import train as script

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if fault:
        Fault(**fault).install()
    try:
        script.main(flags)
    except SystemExit as ending:
        return ending.code or 0
    except KeyboardInterrupt:
        return 130
    except BaseException:
        import traceback

        traceback.print_exc()
        return 99
    return 0


def wait(pid: int, seconds: float) -> int | None:
    """The code of a process; None where it still runs after so long."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.01)


def main() -> None:
    # For all that are forked.
    from tests.reliability import tiny
    from training import run_folder, start  # noqa: F401

    run_folder.plot_training = tiny.blank_curves
    for line in sys.stdin:
        job = json.loads(line)
        if "train" in job:
            pid = os.fork()
            if pid == 0:
                code = 99
                try:
                    code = run_training(job["train"], job["log"], job.get("fault"))
                finally:
                    os._exit(code)
            answer = {"pid": pid}
        else:
            answer = {"code": wait(job["wait"], job["seconds"])}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
