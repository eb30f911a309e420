"""Working on a row: its stages as processes, one after another; what they print goes into the row's log."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from fleets.stages import Plan, Stage, command_to_start, is_bakeable
from fleets.state import DONE, FAILED, LEFT_OUT, RUNNING, has_begun, holding, next_stage, read_stages, record

# Of the end of a log, to find its last line.
TAIL_BYTES = 4096
# Of the libraries that compute on the CPU.
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NO_LIGHT_FORM = "no light form: the avatar has no head model under it"


class Worker:
    """Does stages until `stop`, which ends its processes as Ctrl-C would: train.py saves first.

    `environment` is laid over that of this process.
    """

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = {**os.environ, **(environment or {})}
        self._processes: set[subprocess.Popen] = set()
        self._guard = threading.Lock()
        self._is_stopped = False

    @property
    def is_stopped(self) -> bool:
        return self._is_stopped

    def stop(self) -> None:
        """Begin nothing more, and ask what runs to end. Takes no lock: signal handlers call it."""
        self._is_stopped = True
        for process in list(self._processes):
            process.send_signal(signal.SIGTERM)

    def work(self, plan: Plan, device: str, most: int | None = None) -> bool:
        """Do the next stages of a row, at most so many; whether none of them failed or was stopped."""
        with holding(plan.folder, lambda: self._is_stopped) as held:
            while most is None or most > 0:
                stage = next_stage(plan, read_stages(plan))
                if stage is None:
                    return True
                if held is None or self._is_stopped or not self._do(plan, stage, device, held.fileno()):
                    return False
                most = None if most is None else most - 1
        return True

    def _do(self, plan: Plan, stage: Stage, device: str, held: int) -> bool:
        if stage.name == "export" and not is_bakeable(plan):
            record(plan, stage, LEFT_OUT, line=NO_LIGHT_FORM, seconds=0.0)
            return True
        started = time.monotonic()
        command = command_to_start(plan, stage, has_begun(stage, read_stages(plan)), device)
        record(plan, stage, RUNNING)
        script, *arguments = command
        with plan.log.open("a", encoding="utf-8", errors="surrogateescape") as log:
            print(f"$ python {shlex.join(command)}", file=log, flush=True)
            status = self._run([sys.executable, str(plan.scripts / script), *arguments], log, held)
        if self._is_stopped and status:
            return False
        seconds = round(time.monotonic() - started, 1)
        if status:
            line = f"{script} ended with {status}: {last_line(plan.log)}"
            record(plan, stage, FAILED, line=line, seconds=seconds)
        else:
            record(plan, stage, DONE, seconds=seconds)
        return not status

    def _run(self, command: list[str], log, held: int) -> int:
        """Run a script to its end; it inherits the row's lock. In its own session: Ctrl-C comes by `stop`."""
        inherited = {} if os.name == "nt" else {"pass_fds": [held], "start_new_session": True}
        output = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        with self._guard:
            if self._is_stopped:
                return 1
            process = subprocess.Popen(command, env=self._environment, **output, **inherited)
            self._processes.add(process)
        try:
            # Stopped between the start and the set.
            if self._is_stopped:
                process.send_signal(signal.SIGTERM)
            return process.wait()
        finally:
            self._processes.discard(process)


def threads_of_each(num_cores: int) -> dict[str, str]:
    """The environment of a row that has so many cores, where nobody said otherwise."""
    return {name: str(num_cores) for name in THREADS if name not in os.environ}


def tail(path: Path) -> list[str]:
    """The last lines of a log, states of a progress bar as lines of their own."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    return [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]


def last_line(path: Path) -> str:
    """What a script said last; nothing where it said nothing."""
    lines = tail(path)
    return "it said nothing" if not lines or lines[-1].startswith("$ python ") else lines[-1]
