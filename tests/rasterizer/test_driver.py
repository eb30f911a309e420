"""Launching through libcuda: what the driver is handed, contexts, and its errors."""

import ctypes
import struct
import threading
from types import SimpleNamespace

import pytest

from diff_gaussian_rasterization.cuda import driver
from tests.rasterizer.sources import needs_nvrtc


@needs_nvrtc
def test_launch_config_is_laid_out_as_the_driver_has_it():
    from cuda.bindings import driver as bindings

    config = bindings.CUlaunchConfig()
    names = ("gridDimX", "gridDimY", "gridDimZ", "blockDimX", "blockDimY", "blockDimZ", "sharedMemBytes")
    for value, name in enumerate(names, 1):
        setattr(config, name, value)
    config.hStream = bindings.CUstream(8)
    size = struct.calcsize(driver.LAUNCH_CONFIG)
    # The arguments follow.
    assert size % 8 == 0
    ours = struct.pack(driver.LAUNCH_CONFIG, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0)
    assert ctypes.string_at(config.getPtr(), size) == ours


class Submissions:
    """Stands in for libcuda: notes what is launched, as the driver would read it."""

    def __init__(self):
        self.launched, self.bound, self.failures = [], [], []

    def cuLaunchKernelEx(self, config, function, parameters, extra):
        status = self.failures.pop() if self.failures else 0
        if not status:
            size = struct.calcsize(driver.LAUNCH_CONFIG)
            values = struct.unpack(driver.LAUNCH_CONFIG, ctypes.string_at(config.value, size))
            arguments = struct.unpack("P2if0P", ctypes.string_at(parameters[0], 24))
            self.launched.append((values, function, arguments, extra))
        return status


@pytest.fixture
def submissions(monkeypatch) -> Submissions:
    library = Submissions()
    monkeypatch.setattr(driver, "driver", lambda: library)
    monkeypatch.setattr(driver, "bind_context", library.bound.append)
    monkeypatch.setattr(driver, "_thread", threading.local())
    return library


def test_launch_hands_grid_stream_and_arguments_to_the_driver(submissions):
    kernel = driver.Kernel(SimpleNamespace(device=3, function=lambda name: name), "some", "P2if0P", 64)
    kernel.launch((5, 2), 2**40, (2**45, -1, True, 0.5), shared=96)
    kernel.launch((1, 1), 0, (0, 0, 0, 0))
    first, second = submissions.launched
    assert first == ((5, 2, 1, 64, 1, 1, 96, 2**40, 0, 0), "some", (2**45, -1, 1, 0.5), None)
    assert second == ((1, 1, 1, 64, 1, 1, 0, 0, 0, 0), "some", (0, 0, 0, 0), None)
    # Once in a thread.
    assert submissions.bound == [3]


def test_launch_without_a_context_binds_one_and_tries_again(submissions):
    kernel = driver.Kernel(SimpleNamespace(device=3, function=lambda name: name), "some", "P2if0P", 64)
    kernel.launch((1, 1), 0, (0, 0, 0, 0))
    submissions.failures = [driver._INVALID_CONTEXT]
    kernel.launch((1, 1), 0, (0, 0, 0, 0))
    assert len(submissions.launched) == 2 and submissions.bound == [3, 3]


def test_error_of_the_driver_is_raised_in_its_words(monkeypatch):
    class Library:
        def cuGetErrorName(self, status, name):
            name._obj.value = b"CUDA_ERROR_OUT_OF_MEMORY"

        def cuGetErrorString(self, status, text):
            text._obj.value = b"out of memory"

    monkeypatch.setattr(driver, "driver", Library)
    driver.check(0)
    with pytest.raises(RuntimeError, match="CUDA_ERROR_OUT_OF_MEMORY: out of memory"):
        driver.check(2)
