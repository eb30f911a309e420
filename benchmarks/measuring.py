"""What the benchmarks of whole programs share: their first line, and times of calls."""

import datetime
import os
import platform
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from utils.device import describe


class Times(NamedTuple):
    """Milliseconds of a call."""

    median: float
    p99: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Times":
        return cls(*(1e3 * np.quantile(seconds, [0.5, 0.99])).tolist())

    def __str__(self) -> str:
        return f"{self.median:9.2f} {self.p99:9.2f}"


def header(device: torch.device, what: str) -> str:
    """Date, device, versions and size of what is measured."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{cores} cores, load {load:.1f}, Python {platform.python_version()}"
    return f"{datetime.date.today()}, {describe(device)}, {machine}\n{what}"


def time_calls(function: Callable[[int], object], device: torch.device, num: int, warm_up: int) -> Times:
    """Call function(i) after some warm-up; each call is waited for."""
    seconds = []
    for i in range(warm_up + num):
        synchronize(device)
        start = time.perf_counter()
        function(i)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return Times.of(seconds[warm_up:])


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
