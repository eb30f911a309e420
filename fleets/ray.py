"""The rows as tasks of Ray (an extra): on the cluster that RAY_ADDRESS names, else on a Ray of this machine.

A video's preparation is a task without a GPU; the rest of its row waits for it. Ray hands out cores and GPUs
and begins a task anew whose worker or node died; that goes on with --resume, by the state and the lock that
rows have everywhere. The tasks end with fleet.py, which is their driver. OUT and the sources must be on a
file system that all nodes see.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from arguments.fleet import FleetParams
from fleets.engine import import_extra
from fleets.stages import ROOT, Plan
from fleets.state import outlook, record_loss
from fleets.work import Worker, threads_of_each
from utils.errors import UserError

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_ANSWER = 10.0
# A Ray of this machine listens on its loopback alone, as Ray does by itself on macOS and Windows, where the
# first has its name from; a token keeps other users out.
LOCAL_RAY = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
}
# Plans are small; by default Ray takes a third of the memory.
OBJECT_STORE_BYTES = 100 * 2**20
# Ray counts GPUs in these.
GPU_UNIT = 10_000


def work_on(plan: Plan, device: str, most: int | None, num_cores: int, *before: bool) -> bool:
    """The task: the next stages of a row, at most so many; whether none of them failed.

    `before` is what came of the task that this one waited for. The main thread is at rest, so that Ray can
    interrupt it; the scripts then save and end first.
    """
    if not all(before):
        return False
    # Else not to be interrupted where Ray was started in the background of a shell, which ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = Worker(threads_of_each(num_cores))
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(worker.work, plan, device, most)
        try:
            while not work.done():
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            worker.stop()
    return work.result()


class RayEngine:
    """Hands the rows to Ray, which must be initialised, and leaves it when all are over."""

    def __init__(self, ray: Any, plans: Sequence[Plan], options: FleetParams, device: str) -> None:
        self._ray, self._plans, self._num_cores, self._device = ray, plans, options.cpus, device
        self._gpu_share = 0.0 if device == "cpu" else gpu_share(options.workers)
        self._task = ray.remote(num_cpus=options.cpus, max_retries=options.requeues)(work_on)
        # Those that are not over.
        self._tasks: dict[Any, Plan] = {}
        self._is_stopped = self._is_cancelled = False

    def start(self) -> None:
        for plan in self._plans:
            state = outlook(plan)
            if state.is_over:
                continue
            prepared = [self._submit(plan, "cpu", 1)] if state.stage == "prepare" else []
            self._submit(plan, self._device, None, *prepared)
        if self._tasks and not any(map(self._has_room, self._ray.nodes())):
            what = f"{self._num_cores} cores" + (" and a GPU" if self._gpu_share else "")
            print(f"no node of Ray has {what} now; the rows wait for one", file=sys.stderr)

    def is_running(self) -> bool:
        """Whether a task is not over. A row whose task ended without it has failed."""
        if self._is_stopped and not self._is_cancelled:
            self._is_cancelled = True
            for task in self._tasks:
                self._ray.cancel(task)
        if self._tasks:
            ended, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
            for task in ended:
                self._note(task, self._tasks.pop(task))
        if not self._tasks:
            self._ray.shutdown()
        return bool(self._tasks)

    def stop(self) -> None:
        """Begin no more rows, and end those at work where they are, saved."""
        # Ray is not asked from a signal handler.
        self._is_stopped = True

    def _submit(self, plan: Plan, device: str, most: int | None, *before: Any) -> Any:
        num_gpus = 0.0 if device == "cpu" else self._gpu_share
        remote = self._task.options(num_gpus=num_gpus, name=plan.name).remote
        task = remote(plan, device, most, self._num_cores, *before)
        self._tasks[task] = plan
        return task

    def _note(self, task: Any, plan: Plan) -> None:
        try:
            self._ray.get(task)
        except self._ray.exceptions.TaskCancelledError:
            # As it was stopped, it is unfinished.
            pass
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            first = next(iter(str(cause).splitlines()), "")
            record_loss(plan, f"its task ended with {type(cause).__name__}: {first}")

    def _has_room(self, node: dict[str, Any]) -> bool:
        has = node["Resources"] if node["Alive"] else {}
        return has.get("CPU", 0) >= self._num_cores and has.get("GPU", 0) >= self._gpu_share


def ray_engine(plans: Sequence[Plan], options: FleetParams) -> RayEngine:
    """Rows of --cpus cores and a GPU each, which --workers rows share; begun anew at most --requeues times.

    Raises UserError where the library, the cluster or a GPU is not there.
    """
    address, device = os.environ.get("RAY_ADDRESS"), options.device
    if not address:
        # Read when the library is imported.
        for name, value in LOCAL_RAY.items():
            os.environ.setdefault(name, value)
    ray = import_extra("ray", "--engine ray")
    check_address(address or "")
    if not address and device != "cpu":
        device = device_here(device)
    # A node finds this project's modules, wherever fleet.py was started.
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    usual = {"runtime_env": {"env_vars": {"PYTHONPATH": paths}}, "logging_level": "ERROR"}
    usual["log_to_driver"] = False
    own = {"address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(**usual, **({} if address else own))
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"no Ray at RAY_ADDRESS={address}" if address else "Ray can't be started"
        raise UserError(f"--engine ray: {where}: {error}") from error
    resources = ray.cluster_resources()
    if not address and resources.get("CPU", 0) < options.cpus:
        # No other node will come.
        ray.shutdown()
        raise UserError(f"--cpus {options.cpus}: this machine has {resources.get('CPU', 0):g} cores")
    if device == "auto":
        device = "cuda" if resources.get("GPU", 0) else "cpu"
    return RayEngine(ray, plans, options, device)


def check_address(address: str) -> None:
    """Raise UserError where nobody listens at HOST:PORT, for which Ray itself takes minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--engine ray: no Ray at RAY_ADDRESS={address}: {error}") from error


def device_here(name: str) -> str:
    """What auto is on this machine. Raises UserError where there is no GPU."""
    # Imports torch; not for a library that is missing.
    from utils.device import choose_device

    return choose_device(name).type


def gpu_share(num_rows: int) -> float:
    """Of a GPU that so many rows share; rounded so that all of them fit."""
    return (GPU_UNIT // num_rows) / GPU_UNIT
