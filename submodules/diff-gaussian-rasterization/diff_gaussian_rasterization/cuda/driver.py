"""Kernels on the device: loading and launching through libcuda, by ctypes.

A launch costs about 2 us of the host's time. All arguments of a kernel are one struct, whose fields `layout`
lists in the notation of Python's struct module (P pointer, i int, f float; a trailing 0P pads to its
alignment); it is packed into a buffer that each thread has for itself, and the driver copies it.
"""

import ctypes
import functools
import struct
import sys
import threading

import torch

_thread = threading.local()
_INVALID_CONTEXT = 201
_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Kernel:
    """A kernel of a Library: its threads per block and how its arguments are laid out."""

    def __init__(self, library: "Library", name: str, layout: str, threads: int):
        self._function = library.function(name)
        self._threads = threads
        self._arguments = struct.Struct(layout)
        self._device = library.device
        self._local = threading.local()

    def launch(self, grid: tuple[int, int], stream: int, *arguments: int | float, shared: int = 0) -> None:
        """Launch on a stream; `shared` bytes of dynamic shared memory."""
        local = self._local
        try:
            buffer, parameters = local.buffer, local.parameters
        except AttributeError:
            buffer = local.buffer = ctypes.create_string_buffer(self._arguments.size)
            parameters = local.parameters = (ctypes.c_void_p * 1)(ctypes.addressof(buffer))
        self._arguments.pack_into(buffer, 0, *arguments)
        columns, rows = grid
        call = self._function, columns, rows, 1, self._threads, 1, 1, shared, stream, parameters, None
        _submit(driver().cuLaunchKernel, call, self._device)

    def allow_shared(self, size: int) -> None:
        """Let launches have up to `size` bytes of dynamic shared memory."""
        check(driver().cuFuncSetAttribute(self._function, _MAX_DYNAMIC_SHARED, size))


class Library:
    """Machine code, loaded on one device."""

    def __init__(self, code: bytes, device: int):
        self.device = device
        self._module = ctypes.c_void_p()
        bind_context(device)
        check(driver().cuModuleLoadData(ctypes.byref(self._module), code))

    def function(self, name: str) -> ctypes.c_void_p:
        function = ctypes.c_void_p()
        check(driver().cuModuleGetFunction(ctypes.byref(function), self._module, name.encode()))
        return function


def clear(pointer: int, num_words: int, stream: int, device: int) -> None:
    """Set 4-byte words to zero, on a stream of a device."""
    _submit(driver().cuMemsetD32Async, (pointer, 0, num_words, stream), device)


def _submit(function, arguments: tuple, device: int) -> None:
    if not hasattr(_thread, "is_bound"):  # a thread, such as autograd's, may not have used the device before
        bind_context(device)
        _thread.is_bound = True
    status = function(*arguments)
    if status == _INVALID_CONTEXT:
        bind_context(device)
        status = function(*arguments)
    if status:
        check(status)


def current_stream(device: int) -> int:
    """Return the handle of PyTorch's current stream."""
    return torch._C._cuda_getCurrentRawStream(device)


def bind_context(device: int) -> None:
    """Make PyTorch's context of a device the current one of this thread."""
    handle, context = ctypes.c_int(), ctypes.c_void_p()
    check(driver().cuDeviceGet(ctypes.byref(handle), device))
    check(driver().cuDevicePrimaryCtxRetain(ctypes.byref(context), handle))
    check(driver().cuCtxSetCurrent(context))


def check(status: int) -> None:
    """Raise RuntimeError with the driver's words if a call has failed."""
    if status:
        name, text = ctypes.c_char_p(), ctypes.c_char_p()
        driver().cuGetErrorName(status, ctypes.byref(name))
        driver().cuGetErrorString(status, ctypes.byref(text))
        words = [(t.value or b"unknown").decode() for t in (name, text)]
        raise RuntimeError(f"diff_gaussian_rasterization: CUDA error {words[0]}: {words[1]}")


@functools.cache
def driver() -> ctypes.CDLL:
    """Return libcuda, which comes with the GPU's driver."""
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    size, pointer = ctypes.c_uint, ctypes.c_void_p
    library.cuLaunchKernel.argtypes = [pointer, *[size] * 6, size, pointer, pointer, pointer]
    library.cuMemsetD32Async.argtypes = [ctypes.c_uint64, size, ctypes.c_size_t, pointer]
    library.cuModuleLoadData.argtypes = [pointer, ctypes.c_char_p]
    library.cuModuleGetFunction.argtypes = [pointer, pointer, ctypes.c_char_p]
    library.cuFuncSetAttribute.argtypes = [pointer, ctypes.c_int, ctypes.c_int]
    library.cuCtxSetCurrent.argtypes = [pointer]
    return library
