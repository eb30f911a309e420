"""When the kernels are compiled: at their first call, or ahead of it in processes of their own.

numba compiles one kernel at a time in a process, 17 s for all of them. A program that has something to read
calls `compile_ahead` before: forward and backward then compile side by side into the cache on disk, and the
first call waits for them.
"""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..types import Splats
from .blending import Images, blend_backward, blend_forward
from .geometry import (
    RECORD,
    ROW,
    SHAPES_IF_ABSENT,
    Blended,
    Camera,
    InputGradients,
    project_backward,
    project_forward,
)
from .tiles import Lists, bin_splats, depth_order

_KERNELS = {
    "forward": (project_forward, depth_order, bin_splats, blend_forward),
    "backward": (blend_backward, project_backward),
}
_PACKAGES = Path(__file__).resolve().parents[2]

_not_yet_compiled = set(_KERNELS)
_ahead: dict[str, subprocess.Popen] = {}


def compile_ahead() -> None:
    """Begin to compile what the cache on disk lacks, and return at once."""
    for direction, kernels in _KERNELS.items():
        if direction in _ahead or all(map(_is_cached, kernels)):
            continue
        path = os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH"))))
        code = f"from {__name__} import compile_kernels; compile_kernels({direction!r})"
        try:
            # Nobody's output: who reads ours to the end must not wait for it.
            _ahead[direction] = subprocess.Popen(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            # The first call compiles.
            return


@contextmanager
def noticed(direction: str):
    """Around a call of a direction's kernels: the first one waits for what compiles ahead, and says so if it
    takes long."""
    if direction not in _not_yet_compiled:
        yield
        return
    text = f"diff_gaussian_rasterization: compiling the CPU kernels, {direction} (once; cached on disk) ..."
    timer = threading.Timer(2.0, print, (text,), {"file": sys.stderr, "flush": True})
    timer.start()
    try:
        if direction in _ahead:
            # Where it failed the call says why.
            _ahead[direction].wait()
        yield
        _not_yet_compiled.discard(direction)
    finally:
        timer.cancel()


def compile_kernels(direction: str) -> None:
    """Compile by calling the kernels, for nothing, with what they are called with (`__init__.py`)."""
    empty = _no_splats()
    camera = Camera(((0.0,) * 3,) * 3, (0.0,) * 3, *(1.0,) * 4, 0, 0, 0.0, False, False)
    records, lists = (
        np.empty((0, RECORD)),
        Lists(*(np.zeros(1, t) for t in (np.int64, np.int32, np.int64, np.int64))),
    )
    images = Images(*(np.zeros(shape, np.float32) for shape in ((3, 0, 0), (0, 0), (0, 0))))
    v_rows = np.empty((0, ROW), np.float32)
    if direction == "forward":
        radii = np.empty(0, np.int32)
        project_forward(0, 0, empty, camera, records, radii)
        bin_splats(records, depth_order(records, radii), 0, 0)
        blend_forward(0, 0, records, lists, np.zeros(3, np.float32), images)
    else:
        blend_backward(0, 0, records, lists, images, images, v_rows)
        blended = Blended(records, lists.row_starts, v_rows)
        gradients = InputGradients(_no_splats(), np.zeros((0, 2), np.float32), np.empty((0, 16)))
        project_backward(0, 0, empty, camera, blended, gradients)


def _no_splats() -> Splats:
    return Splats(*(np.zeros(shape, np.float32) for shape in SHAPES_IF_ABSENT))


def _is_cached(kernel) -> bool:
    """Whether numba's cache has an index of it; one that is out of date counts, too."""
    folder, function = kernel.stats.cache_path, kernel.py_func
    if folder is None:
        # Cached nowhere: compiling ahead would help nobody.
        return True
    module = function.__module__.rpartition(".")[2]
    return any(Path(folder).glob(f"{module}.{function.__qualname__}-*.nbi"))
