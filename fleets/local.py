"""The rows on this machine: videos are prepared on the CPU while others train on a device each.

A row takes a device for all its stages from train.py on. With several rows at a time each gets its share of
the cores. A row that fails leaves its place to the next.
"""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from arguments.fleet import FleetParams
from fleets.stages import Plan
from fleets.state import outlook
from fleets.work import Worker, threads_of_each
from utils.errors import UserError


class LocalEngine:
    """Works on rows in threads that wait for processes: `start`, then ask `is_running`.

    devices: names for --device, one for each row that may be worked on at a time.
    """

    def __init__(self, plans: Sequence[Plan], devices: Sequence[str], prepare_workers: int = 1) -> None:
        self._plans = plans
        self._worker = Worker(shared_cores(len(devices)))
        self._devices: queue.SimpleQueue[str] = queue.SimpleQueue()
        for device in devices:
            self._devices.put(device)
        self._num_devices, self._prepare_workers = len(devices), prepare_workers
        self._main = threading.Thread(target=self._run, daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> None:
        self._main.start()

    def is_running(self) -> bool:
        """Whether there is work left. Raises at the end what went wrong here, not in a script."""
        if self._main.is_alive():
            return True
        if self._failure is not None:
            raise self._failure
        return False

    def stop(self) -> None:
        """End all rows where they are; the scripts save what they can."""
        self._worker.stop()

    def _run(self) -> None:
        with (
            ThreadPoolExecutor(self._prepare_workers) as cpu,
            ThreadPoolExecutor(self._num_devices) as device,
        ):
            prepared = [
                cpu.submit(self._prepare, plan, device)
                for plan in self._plans
                if outlook(plan).stage == "prepare"
            ]
            others = [plan for plan in self._plans if outlook(plan).stage not in ("prepare", None)]
            futures = [device.submit(self._make, plan) for plan in others]
            for future in (*prepared, *futures):
                self._note(future)
            # Handed on by those that prepared.
            for future in prepared:
                if future.exception() is None and future.result() is not None:
                    self._note(future.result())

    def _prepare(self, plan: Plan, device: ThreadPoolExecutor):
        return device.submit(self._make, plan) if self._worker.work(plan, "cpu", most=1) else None

    def _make(self, plan: Plan) -> None:
        device = self._devices.get()
        try:
            self._worker.work(plan, device)
        finally:
            self._devices.put(device)

    def _note(self, future) -> None:
        """Wait, and keep the first error for the end: a row whose folder can't be written stops nobody."""
        error = future.exception()
        if error is not None and self._failure is None:
            self._failure = error


def local_engine(plans: Sequence[Plan], options: FleetParams) -> LocalEngine:
    """Rows on --device, --workers at a time on each. Raises UserError where there is no such device."""
    return LocalEngine(plans, find_devices(options.device, options.workers), options.prepare_workers)


def shared_cores(num_rows: int) -> dict[str, str]:
    """Threads of each row, where several rows share the cores and nobody said otherwise."""
    if num_rows < 2:
        return {}
    # Imports OpenCV; not for a table that is wrong.
    from utils.threads import usable_cores

    return threads_of_each(max(1, usable_cores() // num_rows))


def find_devices(name: str, workers: int) -> list[str]:
    """All GPUs for auto and cuda where there are any, else what was named; each as often as it has workers.

    Raises UserError where there is no such device.
    """
    # Seconds; not for a table that is wrong.
    import torch

    from utils.device import choose_device

    device = choose_device(name)
    if device.type == "cuda" and device.index is None:
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    else:
        names = [str(device)]
    if not names:
        raise UserError(f"--device {name}: no usable GPU")
    return names * workers
