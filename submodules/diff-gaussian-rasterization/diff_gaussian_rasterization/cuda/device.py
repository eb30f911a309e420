"""What the back-end keeps for each device: its compiled kernels, and how long the tiles' lists have to be.

A tile's list has room for a fixed number of splats, so that the host never waits to hear how many there are.
At first that is what a head needs. A tile with more is drawn all the same, slowly (kernels/blend.cu), and
writes its count into page-locked memory of the host, which the next call reads: it gives all lists more room,
and says so if $DIFF_GAUSSIAN_RASTERIZATION_DEBUG is set.
"""

import ctypes
import functools
import os
import sys
import threading
from typing import NamedTuple

import torch

from . import compiler
from .driver import Kernel, Library

TILE = 16
PROJECT_THREADS = 64
# Pixels of a lane in the forward pass; threads of a block of the backward pass, and blocks that a
# multiprocessor is to hold at least, which limits registers.
BLEND = {"FORWARD_PIXELS": 1, "BACKWARD_THREADS": 64, "BACKWARD_BLOCKS": 10}
# Shared memory of a warp: sizeof(Stage) in blend.cu.
PATCH_BYTES = 1664
# Splats that a block sorts at once.
LONGEST_SORT = 4096

# Splats that every list holds at least; and at first, where those lists take no more than so many bytes in
# all: 18,000 to 100,000 Gaussians of a head have up to some 1,500 in a tile at 512 x 512.
LEAST_CAPACITY, HEAD_CAPACITY = 512, 2048
HEAD_LISTS_BYTES = 2**28
# Bytes of an entry, and the part of the device's memory that lists take at most: beyond, the slow way.
LIST_BYTES, LISTS_SHARE = 12, 16

_GAUSSIANS, _CAMERA = "7P", "2P5if"
_TILES, _IMAGES = "5P6i", "3P"


class ProjectionKind(NamedTuple):
    """What project.cu is compiled for."""

    bases: int  # of spherical harmonics; 0: colours are given
    given_cov3d: bool = False
    antialiased: bool = False
    inverse_depth: bool = False

    def options(self) -> dict[str, int]:
        """Return the macros of project.cu."""
        names = "SH_BASES", "GIVEN_COV3D", "ANTIALIASED", "INVERSE_DEPTH"
        return dict(zip(names, map(int, self))) | {"PROJECT_THREADS": PROJECT_THREADS}


class Device:
    """The kernels on one device, and the room in the lists there."""

    def __init__(self, index: int):
        self.index = index
        self.capability = torch.cuda.get_device_capability(index)
        self._count = torch.zeros(1, dtype=torch.int32).pin_memory()
        self.overflow_pointer = self._count.data_ptr()
        self._overflow = ctypes.c_int32.from_address(self.overflow_pointer)
        self._least_capacity = LEAST_CAPACITY
        self._lists_limit = torch.cuda.get_device_properties(index).total_memory // LISTS_SHARE
        self._lock = threading.Lock()
        self._project: dict[ProjectionKind, tuple[Kernel, Kernel]] = {}
        self._blend: dict[bool, tuple[Kernel, Kernel]] = {}
        self.backward_blocks_per_tile = TILE * TILE // BLEND["BACKWARD_THREADS"]

    def blend(self, inverse_depth: bool) -> tuple[Kernel, Kernel]:
        """Return blend_forward and blend_backward of z, or of 1 / z."""
        with self._lock:
            if inverse_depth not in self._blend:
                library = self.load("blend.cu", BLEND | {"INVERSE_DEPTH": int(inverse_depth)})
                # tiles, out, background, overflow, sort_capacity
                threads = TILE * TILE // BLEND["FORWARD_PIXELS"]
                forward = Kernel(library, "blend_forward", f"{_TILES}{_IMAGES}2Pi0P", threads)
                forward.allow_shared(self.sort_bytes(LONGEST_SORT))
                # tiles, out, v_out, v_rows
                layout = f"{_TILES}{_IMAGES}{_IMAGES}P0P"
                backward = Kernel(library, "blend_backward", layout, BLEND["BACKWARD_THREADS"])
                self._blend[inverse_depth] = forward, backward
            return self._blend[inverse_depth]

    def project(self, kind: ProjectionKind) -> tuple[Kernel, Kernel]:
        """Return project_forward and project_backward of a kind."""
        try:
            return self._project[kind]
        except KeyError:
            pass
        with self._lock:
            library = self.load("project.cu", kind.options())
            # gaussians, camera, splats, radii, tile_counts, lists, v_rows, num, per_view, tiles, capacity
            layout = f"{_GAUSSIANS}{_CAMERA}5P5i0P"
            forward = Kernel(library, "project_forward", layout, PROJECT_THREADS)
            # gaussians, camera, radii, v_rows, v_gaussians, v_means2d, v_camera, num, views, ...
            layout = f"{_GAUSSIANS}{_CAMERA}2P{_GAUSSIANS}2P4i0P"
            backward = Kernel(library, "project_backward", layout, PROJECT_THREADS)
            kernels = forward, backward
            self._project[kind] = kernels
        return kernels

    @functools.cached_property
    def family_intrinsics(self) -> Kernel:
        """The kernel of that name in project.cu."""
        return Kernel(self.load("project.cu", ProjectionKind(16).options()), "family_intrinsics", "3P2i0P", 1)

    def load(self, source: str, options: dict[str, int]) -> Library:
        """Compile one of kernels/, or find it in the cache, and load it."""
        return Library(compiler.machine_code(source, self.capability, options), self.index)

    @property
    def wants_longer_lists(self) -> bool:
        """Whether a list has overflowed and lists have not grown since; known once the device got there."""
        return _with_slack(self._overflow.value) > self._least_capacity

    def least_capacity(self) -> int:
        """Return how many splats lists hold at least, which is more than before if one has overflowed."""
        if self._overflow.value:
            self._grow()
        return self._least_capacity

    def capacity(self, num: int, num_tiles: int, num_views: int) -> int:
        """Return how many splats a tile's list is to hold: a power of two, no more than are needed."""
        least, bytes_of_one = self.least_capacity(), LIST_BYTES * num_tiles * num_views
        if HEAD_CAPACITY * bytes_of_one <= HEAD_LISTS_BYTES:
            least = max(least, HEAD_CAPACITY)
        wanted = min(num, max(least, 8 * num // num_tiles))
        limit = self._lists_limit // bytes_of_one
        return 1 << max(8, min((wanted - 1).bit_length(), limit.bit_length() - 1))

    def _grow(self) -> None:
        count, self._overflow.value = self._overflow.value, 0
        # A captured graph keeps its short lists and reports the same again.
        needed = _with_slack(count)
        if needed > self._least_capacity and os.environ.get("DIFF_GAUSSIAN_RASTERIZATION_DEBUG"):
            text = f"a tile had {count} splats, more than its list could hold: drawn slowly"
            text += "; from now on lists are longer (a captured CUDA graph keeps its lists: capture it anew)"
            print(f"diff_gaussian_rasterization: {text}", file=sys.stderr, flush=True)
        self._least_capacity = max(self._least_capacity, needed)

    @staticmethod
    def sort_bytes(sort_capacity: int) -> int:
        """Return the shared memory of a block of blend_forward that sorts so many splats at once."""
        warps = TILE * TILE // (32 * BLEND["FORWARD_PIXELS"])
        return max(8 * sort_capacity, PATCH_BYTES * warps) + 4 * sort_capacity


def _with_slack(count: int) -> int:
    """More than the list that overflowed: others are longer, and all of them grow."""
    return count + count // 4


_devices: dict[int, Device] = {}
_lock = threading.Lock()


def device_of(index: int) -> Device:
    """Return what is kept for a device, made at its first use (which compiles)."""
    try:
        return _devices[index]
    except KeyError:
        pass
    with _lock, torch.cuda.device(index):
        if index not in _devices:
            _devices[index] = Device(index)
    return _devices[index]
