"""Work spread over the cores by threads: for what leaves the interpreter lock (NumPy on large arrays, SciPy's
factorisations, OpenCV)."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

# More than so many wait for the lock rather than for work.
MOST_THREADS = 16


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def opencv_on_one_core() -> Iterator[None]:
    """Within the block OpenCV's functions use the thread that calls them, not all cores: for a pool whose
    threads call them already. Holds for the whole process."""
    usual = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(usual)


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results of a function of each item, in the order of the items; raises what the first to fail raised."""
    items = list(items)
    num_threads = min(usable_cores(), MOST_THREADS, len(items))
    if num_threads < 2:
        return [function(item) for item in items]
    with opencv_on_one_core(), ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(function, items))
