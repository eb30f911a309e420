"""Decoded frames: composited on the background, resized, and kept in memory as far as a budget allows.

A frame is kept as uint8 [H, W, 4] (composited RGB and matte), on the data device. The first frames to arrive
stay; those beyond the budget are decoded again whenever they are asked for, by threads that work ahead
(`preload`, `frames`, `prefetch`). What a frame holds never depends on the cache, the threads
or the order. Decoding leaves the data device alone: threads that copy to a GPU would disturb whoever records
a graph there.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scene.cameras import Camera, inverted
from scene.dataset_readers import Clip
from scene.frame_decoding import load_frame
from scene.views import Drive
from utils.errors import UserError
from utils.threads import MOST_THREADS, usable_cores

DIVISORS = (1, 2, 4, 8)
DECODER_THREADS = min(MOST_THREADS, usable_cores())
# Frames that may wait decoded beside the cache.
AHEAD = max(8, 2 * DECODER_THREADS)
# What the cache may take of the free memory, unless a budget is given.
MEMORY_SHARE = 0.5


class Frame(NamedTuple):
    """One frame, ready to compare a rendering with."""

    index: int  # in the clip
    image_id: int
    camera: Camera
    expression: Tensor  # [E]
    image: Tensor  # [3, H, W] float32 in [0, 1], on the background
    matte: Tensor  # [H, W] float32 in [0, 1]
    torso: Tensor | None = None  # [4, 4] the torso's own motion, where the data have it

    @property
    def drive(self) -> Drive:
        """All that is known of what moved the head."""
        return Drive(self.expression, self.camera.world_to_camera, self.torso)


def resolve_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Return the size that --resolution asks for: 1, 2, 4, 8 divide, another is the width, -1 as is."""
    if resolution == -1:
        return width, height
    if resolution in DIVISORS:
        return max(1, round(width / resolution)), max(1, round(height / resolution))
    return resolution, max(1, round(height * resolution / width))


def free_memory() -> int:
    """Bytes of main memory that can be had without swapping, within the limits of a container."""
    # What is taken where the system does not say.
    free = [8 << 30]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")]
        limit, used = (
            Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current")
        )
        free += [int(limit) - int(used)] if limit != "max" else []
    except (OSError, ValueError):
        pass
    return max(0, min(free))


class FrameDataset:
    """Some frames of a clip, by position; `len` and `[]` work as in a list.

    background: three numbers in [0, 1]. device: where the frames are handed out. data_device: where they are
    kept; None is `device` if they fit in its free memory, else main memory. cache_bytes: budget for them,
    None takes up to half of the free memory.
    """

    def __init__(
        self,
        clip: Clip,
        indices: Sequence[int],
        *,
        resolution: int = -1,
        background: Sequence[float] | Tensor = (0.0, 0.0, 0.0),
        only_head: bool = False,
        device: torch.device | str = "cpu",
        data_device: torch.device | str | None = None,
        cache_bytes: int | None = None,
    ):
        self.clip, self.indices, self.device = clip, tuple(indices), torch.device(device)
        self.width, self.height = resolve_size(clip.width, clip.height, resolution)
        self.background = np.array([float(value) for value in background], np.float32)  # [3]
        self.only_head, self.records = only_head, tuple(clip.frames[i] for i in self.indices)
        assert not only_head or all(r.parsing_path for r in self.records), "read_clip was not told only_head"
        expressions = np.array([record.expression for record in self.records], np.float32)
        self.expressions = torch.from_numpy(expressions).to(self.device)  # [F, E]
        # One inversion and one copy to the device, not one for each frame.
        poses = inverted(np.stack([record.camera_to_world for record in self.records])).to(self.device)
        # All are of one size and share the intrinsics.
        camera = clip.camera(self.records[0]).scaled(self.width, self.height).to(self.device)
        self.cameras = tuple(camera.posed(pose) for pose in poses)
        self.torsos: tuple[Tensor | None, ...] = (None,) * len(self.records)
        if self.records[0].torso is not None:
            torsos = torch.from_numpy(np.stack([record.torso for record in self.records]))  # [F, 4, 4]
            self.torsos = torsos.float().to(self.device).unbind()

        self.data_device = self._place(data_device)
        budget = _budget(self.data_device) if cache_bytes is None else cache_bytes
        self.num_cached_at_most = min(len(self.indices), int(budget) // self.frame_bytes)
        self._cache: dict[int, Tensor] = {}
        self._pending: OrderedDict[int, Future] = OrderedDict()
        self._preloaded: dict[int, Future] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def drives(self) -> Iterator[Drive]:
        """What moved the head in every frame, without decoding any."""
        for expression, camera, torso in zip(self.expressions, self.cameras, self.torsos, strict=True):
            yield Drive(expression, camera.world_to_camera, torso)

    @property
    def frame_bytes(self) -> int:
        """Memory for one kept frame."""
        return self.width * self.height * 4

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Frame:
        if not 0 <= position < len(self):
            raise IndexError(f"frame {position} of {len(self)}")
        pixels = self._pixels(position).to(self.device, non_blocking=True)
        rgba = torch.empty(4, self.height, self.width, device=self.device)
        torch.div(pixels.permute(2, 0, 1), 255, out=rgba)
        return Frame(
            index=self.indices[position],
            image_id=self.records[position].image_id,
            camera=self.cameras[position],
            expression=self.expressions[position],
            image=rgba[:3],
            matte=rgba[3],
            torso=self.torsos[position],
        )

    def preload(self) -> None:
        """Start to decode, by all cores, as many frames as will be kept and main memory has room for."""
        room = min(self.num_cached_at_most, int(MEMORY_SHARE * free_memory()) // self.frame_bytes)
        with self._lock:
            for position in range(room):
                if position not in self._cache and position not in self._preloaded:
                    self._preloaded[position] = self._threads().submit(self._load, position)

    def prefetch(self, positions: Iterable[int]) -> None:
        """Start to decode frames in the background; a hint: the oldest give way when too many wait."""
        with self._lock:
            for position in positions:
                if any(position in known for known in (self._cache, self._pending, self._preloaded)):
                    continue
                self._pending[position] = self._threads().submit(self._load, position)
                while len(self._pending) > AHEAD:
                    self._pending.popitem(last=False)[1].cancel()

    def frames(self, order: Iterable[int], ahead: int = AHEAD - 1) -> Iterator[Frame]:
        """Yield the frames of an order, which may be endless, decoding up to `ahead` in the background."""
        window: list[int] = []
        for position in order:
            window.append(position)
            self.prefetch(window[-1:])
            if len(window) > ahead:
                yield self[window.pop(0)]
        for position in window:
            yield self[position]

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(DECODER_THREADS, thread_name_prefix="decoder")
        return self._pool

    def _pixels(self, position: int) -> Tensor:  # [H, W, 4] uint8
        with self._lock:
            kept = self._cache.get(position)
            future = self._pending.pop(position, None) or self._preloaded.pop(position, None)
        if kept is not None:
            return kept
        # Not to wait for its turn.
        is_done_here = future is None or future.cancel()
        pixels = self._load(position) if is_done_here else future.result()
        with self._lock:
            if position not in self._cache and len(self._cache) < self.num_cached_at_most:
                self._cache[position] = pixels.to(self.data_device)
            return self._cache.get(position, pixels)

    def _load(self, position: int) -> Tensor:
        size = self.width, self.height
        record = self.records[position]
        return torch.from_numpy(
            load_frame(record, self.background, size, self.only_head, self.clip.is_checked)
        )

    def _place(self, data_device: torch.device | str | None) -> torch.device:
        if data_device is not None:
            place = torch.device(data_device)
            if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
                raise UserError(
                    f"--data_device {data_device}: no such usable CUDA device; expected auto or cpu"
                )
            return place
        is_roomy = len(self.indices) * self.frame_bytes <= _budget(self.device)
        return self.device if is_roomy else torch.device("cpu")


def _budget(device: torch.device) -> int:
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    return int(MEMORY_SHARE * free)
