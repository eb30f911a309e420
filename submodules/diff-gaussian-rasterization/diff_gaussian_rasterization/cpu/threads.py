"""Running compiled kernels on several threads.

Kernels release the GIL and work on a range of blocks; a small pool of our own threads, with the caller among
them, takes the blocks in turn. Unlike numba's `parallel=True` this is safe when several threads render at
once (its workqueue layer aborts the process) and after a fork (its OpenMP layer kills the child).
"""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import torch

# More tasks than threads, since blocks differ in work.
TASKS_PER_THREAD = 8

# By number of threads.
_pools: dict[int, ThreadPoolExecutor] = {}


def kernel(function: Callable | None = None, **options) -> Callable:
    """Compile with numba at the first call, to run without the GIL; cached on disk where that is possible.

    numba keys its cache by the file that a kernel is in: after changing what it calls in another file, touch
    that one.
    """
    if function is None:
        return lambda f: kernel(f, **options)
    options = {"nogil": True, "error_model": "numpy", **options}
    # What is inlined is cached as a part of its callers, and needs no machine code of its own.
    if options.get("forceinline"):
        return numba.njit(**options)(function)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        # "no locator available": neither the package nor the user's cache folder is writable.
        return numba.njit(**options)(function)


def run_blocks(compiled: Callable, num_blocks: int, *args) -> None:
    """Call `compiled(first, last, *args)` until every block in [0, num_blocks) is done.

    Uses `torch.get_num_threads()` threads. Kernels write each block's results to places of their own, so that
    they do not depend on who takes which block.
    """
    num_threads = min(torch.get_num_threads(), num_blocks)
    if num_threads <= 1:
        if num_blocks:
            compiled(0, num_blocks, *args)
        return
    step = -(-num_blocks // (num_threads * TASKS_PER_THREAD))
    # next() is atomic.
    starts = itertools.count(0, step)

    def work() -> None:
        while (first := next(starts)) < num_blocks:
            compiled(first, min(first + step, num_blocks), *args)

    helpers = [_pool(num_threads).submit(work) for _ in range(num_threads - 1)]
    try:
        work()
    finally:
        # Helpers write to the caller's arrays: never leave before they are done.
        errors = [h.exception() for h in helpers if not h.cancel()]
    for error in filter(None, errors):
        raise error


def _pool(num_threads: int) -> ThreadPoolExecutor:
    if num_threads not in _pools:
        pool = ThreadPoolExecutor(num_threads - 1, thread_name_prefix="rasterizer")
        # Another thread may have been faster.
        return _pools.setdefault(num_threads, pool)
    return _pools[num_threads]


# A forked child has no threads: let it start its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
