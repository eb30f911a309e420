"""The rows as jobs of a SLURM cluster, by submitit (an extra): one array, a job for each row.

A job does the row's stages on one node, with the state and the lock that rows have everywhere. Before its
time is over SLURM sends a signal; the job then lets train.py save, and submitit puts it into the queue again,
where it goes on with --resume. OUT/slurm/jobs.json keeps the numbers of the jobs: fleet.py only watches them,
and may be ended and started again. OUT and the sources must be on a file system that all nodes see.
"""

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arguments.fleet import FleetParams
from fleets.engine import import_extra
from fleets.stages import ROOT, Plan
from fleets.state import outlook, record_loss
from fleets.work import Worker
from utils.errors import UserError
from utils.json_files import read_json, write_json

SECONDS_BETWEEN_LOOKS = 0.2
# For train.py to save; SLURM's signal comes 90 s before the end.
SECONDS_TO_SAVE = 60.0


class RowJob:
    """What a node does: all stages of a row that are not done. submitit pickles it."""

    def __init__(self, plan: Plan, device: str) -> None:
        self._plan, self._device = plan, device
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None

    def __call__(self) -> str:
        """Work in a thread, so that a signal finds the main one at rest; what the row came to."""
        self._worker = Worker()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        self._wait()
        return outlook(self._plan).line

    def checkpoint(self) -> Any:
        """By submitit, when time is nearly over: end what runs, saved, and return what is left to do."""
        from submitit.helpers import DelayedSubmission

        self._worker.stop()
        self._wait(SECONDS_TO_SAVE)
        return DelayedSubmission(RowJob(self._plan, self._device))

    def _work(self) -> None:
        # SLURM sends its signal to all processes of a job. Blocked here, and so in the scripts, whom it would
        # kill before they are asked to end.
        name = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")
        signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, f"SIG{name}")})
        self._worker.work(self._plan, self._device)

    def _wait(self, seconds: float = float("inf")) -> None:
        # No lock in it: the signal may come at any place, and waits here, too.
        end = time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < end:
            time.sleep(SECONDS_BETWEEN_LOOKS)


class SlurmEngine:
    """Submits the rows and watches their jobs; `stop` ends the watching, not the jobs."""

    def __init__(self, plans: Sequence[Plan], executor: Any, job_type: type, device: str, out: Path) -> None:
        self._plans, self._executor, self._job_type, self._device = plans, executor, job_type, device
        self._folder = (out / "slurm").resolve()
        self._jobs: dict[str, Any] = {}
        self._is_stopped = False

    def start(self) -> None:
        """Submit what is not done and has no job yet."""
        waiting = [plan for plan in self._plans if not outlook(plan).is_over]
        for plan in waiting:
            job = self._job_of_before(plan)
            if job is not None:
                self._jobs[plan.name] = job
        fresh = [plan for plan in waiting if plan.name not in self._jobs]
        # A node finds this project's modules, wherever fleet.py was started.
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        with self._executor.batch():
            jobs = [self._executor.submit(RowJob(plan, self._device)) for plan in fresh]
        # Their numbers are known now.
        self._jobs.update({plan.name: job for plan, job in zip(fresh, jobs)})
        numbers = {name: job.job_id for name, job in self._jobs.items()}
        write_json(self._folder / "jobs.json", {**self._numbers_of_before(), **numbers})

    def is_running(self) -> bool:
        """Whether a job is not over. A row whose job ended without it has failed."""
        for plan in self._plans:
            job = self._jobs.get(plan.name)
            if job is None or self._is_stopped or not job.done():
                continue
            del self._jobs[plan.name]
            record_loss(plan, f"job {job.job_id} ended as {job.state}; its log is {job.paths.stderr}")
        return bool(self._jobs) and not self._is_stopped

    def stop(self) -> None:
        """Watch no longer; the jobs go on, and the same command watches them again."""
        self._is_stopped = True

    def _numbers_of_before(self) -> dict[str, str]:
        path = self._folder / "jobs.json"
        return read_json(path) if path.is_file() else {}

    def _job_of_before(self, plan: Plan) -> Any:
        """The job of a row that an earlier fleet.py submitted and that is not over."""
        number = self._numbers_of_before().get(plan.name)
        job = None if number is None else self._job_type(self._folder, number)
        return None if job is None or job.done() else job


def slurm_engine(plans: Sequence[Plan], options: FleetParams) -> SlurmEngine:
    """Jobs of --minutes each, queued again --requeues times; --slurm are submitit's parameters.

    Raises UserError where submitit, SLURM, or a parameter is not there.
    """
    submitit = import_extra("submitit", "--engine slurm")
    usual = {"name": "fleet", "timeout_min": options.minutes}
    if options.device != "cpu":
        usual["gpus_per_node"] = 1
    folder = options.out / "slurm"
    try:
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=options.requeues)
        executor.update_parameters(**{**usual, **options.slurm_values})
    except RuntimeError as error:
        raise UserError(f"--engine slurm: {error}") from error
    except (NameError, TypeError) as error:
        raise UserError(f"--slurm: submitit knows no such parameter ({error})") from error
    return SlurmEngine(plans, executor, submitit.SlurmJob, options.device, options.out)
