"""What a script sets before it imports torch, and how it ends."""

import contextlib
import os
import sys
import time
from typing import NoReturn

_STARTED = time.monotonic()


def seconds_since_start() -> float:
    """Seconds since the script began, all imports but Python's own included."""
    return time.monotonic() - _STARTED


# Idle OpenMP threads sleep instead of spinning. Where another program keeps a core busy, spinning threads
# wait for one that does not run: on 2 cores a forward pass of the demo avatar (4,454 Gaussians) took 9 to
# 356 ms, against 8 to 14 ms with sleeping threads.
VARIABLES = {"OMP_WAIT_POLICY": "PASSIVE"}


def prepare_environment(blas_threads: int | None = None) -> None:
    """Set these environment variables; what the user has set stays. Let any path be printed.

    blas_threads: of every call of NumPy's linear algebra, by default all cores. 1 is for a program whose own
    threads make such calls: the start of training on 16 cores took 5 s of processor time with it instead of
    15, and 1.5 to 1.8 s of wall time instead of 1.7 to 2.2.
    """
    variables = dict(VARIABLES)
    if blas_threads is not None:
        variables["OPENBLAS_NUM_THREADS"] = str(blas_threads)
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    # A path whose name is not UTF-8 is printed by its bytes.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")


def leave(code: int = 0) -> NoReturn:
    """End the process, with success unless told otherwise, where all files are written and closed.

    To take Python, threads and the device down piece by piece takes most of a second after that.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
