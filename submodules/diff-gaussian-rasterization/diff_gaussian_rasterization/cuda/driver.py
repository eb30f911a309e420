"""Kernels on the device: loading and launching through libcuda, by ctypes.

All arguments of a kernel are one struct, whose fields `layout` lists in the notation of Python's struct
module (P pointer, i int, f float; a trailing 0P pads to its alignment). It is packed, behind the driver's
CUlaunchConfig, into a buffer that each thread has for itself; the driver copies both. So the call itself has
four arguments, always the same objects, which costs ctypes a quarter of the eleven of cuLaunchKernel.
"""

import ctypes
import functools
import struct
import sys
import threading

import torch

_thread = threading.local()
_INVALID_CONTEXT = 201
# CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
_MAX_DYNAMIC_SHARED = 8
# CUlaunchConfig: grid (3), block (3), shared bytes, stream, attributes, their number.
LAUNCH_CONFIG = "7I2PI0P"


class Kernel:
    """A kernel of a Library: its threads per block and how its arguments are laid out."""

    def __init__(self, library: "Library", name: str, layout: str, threads: int):
        self._function = library.function(name)
        self._threads = threads
        call = struct.Struct(LAUNCH_CONFIG + layout)
        self._size, self._pack = call.size, call.pack_into
        self._device = library.device
        self._submit = driver().cuLaunchKernelEx
        self._local = threading.local()

    def launch(
        self, grid: tuple[int, int], stream: int, arguments: tuple[int | float, ...], shared: int = 0
    ) -> None:
        """Launch on a stream; `shared` bytes of dynamic shared memory."""
        try:
            buffer, config, parameters = self._local.buffers
        except AttributeError:
            buffer, config, parameters = self._make_buffers()
        columns, rows = grid
        self._pack(buffer, 0, columns, rows, 1, self._threads, 1, 1, shared, stream, 0, 0, *arguments)
        status = self._submit(config, self._function, parameters, None)
        if status == _INVALID_CONTEXT:
            bind_context(self._device)
            status = self._submit(config, self._function, parameters, None)
        if status:
            check(status)

    def _make_buffers(self) -> tuple:
        """Make this thread's buffers: what is packed, and pointers to its two parts."""
        _bind_once(self._device)
        buffer = ctypes.create_string_buffer(self._size)
        start = ctypes.addressof(buffer)
        parameters = (ctypes.c_void_p * 1)(start + struct.calcsize(LAUNCH_CONFIG))
        self._local.buffers = buffer, ctypes.c_void_p(start), parameters
        return self._local.buffers

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
    _bind_once(device)
    status = driver().cuMemsetD32Async(pointer, 0, num_words, stream)
    if status == _INVALID_CONTEXT:
        bind_context(device)
        status = driver().cuMemsetD32Async(pointer, 0, num_words, stream)
    if status:
        check(status)


def current_stream(device: int) -> int:
    """Return the handle of PyTorch's current stream."""
    return torch._C._cuda_getCurrentRawStream(device)


def _bind_once(device: int) -> None:
    """Bind the context where this thread, such as autograd's, may not have used the device before."""
    if not hasattr(_thread, "is_bound"):
        bind_context(device)
        _thread.is_bound = True


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
    library.cuMemsetD32Async.argtypes = [ctypes.c_uint64, size, ctypes.c_size_t, pointer]
    library.cuModuleLoadData.argtypes = [pointer, ctypes.c_char_p]
    library.cuModuleGetFunction.argtypes = [pointer, pointer, ctypes.c_char_p]
    library.cuFuncSetAttribute.argtypes = [pointer, ctypes.c_int, ctypes.c_int]
    library.cuCtxSetCurrent.argtypes = [pointer]
    return library
