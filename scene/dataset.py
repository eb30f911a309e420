"""Decoded frames: composited on the background, resized, and kept in memory as far as a budget allows.

A frame is kept as uint8 [H, W, 4] (composited RGB and matte), on the data device. The first frames to arrive
stay; those beyond the budget are decoded again whenever they are asked for, by threads that work ahead
(`frames`, `prefetch`). What a frame holds never depends on the cache, the threads or the order.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from scene.cameras import Camera
from scene.clip_checks import matte_defect, refuse_matte
from scene.dataset_readers import Clip, FrameRecord
from scene.image_checks import decode_image, head_pixels
from scene.views import Drive
from utils.errors import UserError

DIVISORS = (1, 2, 4, 8)
DECODER_THREADS = min(8, os.cpu_count() or 1)
# Frames that may wait decoded beside the cache.
AHEAD = 8
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


def composite(
    rgb: np.ndarray, alpha: np.ndarray, background: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Blend RGB [h, w, 3] over a background [3] in [0, 1] by alpha [h, w]; return [H, W, 4] with the matte.

    All images are uint8. Blending comes first and in float: a filter on unblended colours would mix the
    old background into the outline. Areas are averaged when shrinking, and rounding to 8 bits happens once.
    """
    weight = alpha.astype(np.float32)[..., None] / 255  # [h, w, 1]
    rgba = np.empty((*alpha.shape, 4), np.float32)
    rgba[..., :3] = rgb * weight + (255 * background.astype(np.float32)) * (1 - weight)
    rgba[..., 3] = alpha
    if size != (alpha.shape[1], alpha.shape[0]):
        rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(rgba), 0, 255).astype(np.uint8)


def load_frame(
    record: FrameRecord,
    background: np.ndarray,
    size: tuple[int, int],
    only_head: bool,
    check_data: bool = True,
) -> np.ndarray:  # [H, W, 4] uint8
    """Decode a frame and its matte, which the parsing map cuts to the head if so wanted. Raises UserError."""
    rgb = cv2.cvtColor(decode_image(record.image_path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    alpha = decode_image(record.mask_path, cv2.IMREAD_GRAYSCALE)
    if check_data and (defect := matte_defect(int(alpha.max(initial=0)))):
        raise refuse_matte(record.mask_path, defect)
    if only_head:
        alpha = alpha * head_pixels(decode_image(record.parsing_path, cv2.IMREAD_COLOR))
    return composite(rgb, alpha, background, size)


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
        cameras = [
            clip.camera(record).scaled(self.width, self.height).to(self.device) for record in self.records
        ]
        # All are of one size and share the intrinsics.
        self.cameras = tuple(cameras[0].posed(camera.world_to_camera) for camera in cameras)
        self.torsos = tuple(
            None if record.torso is None else torch.from_numpy(record.torso).float().to(self.device)
            for record in self.records
        )

        self.data_device = self._place(data_device)
        budget = _budget(self.data_device) if cache_bytes is None else cache_bytes
        self.num_cached_at_most = min(len(self.indices), int(budget) // self.frame_bytes)
        self._cache: dict[int, Tensor] = {}
        self._pending: OrderedDict[int, Future] = OrderedDict()
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
        rgba = self._pixels(position).to(self.device, non_blocking=True).permute(2, 0, 1)  # [4, H, W]
        image, matte = rgba[:3].float().div_(255), rgba[3].float().div_(255)
        return Frame(
            index=self.indices[position],
            image_id=self.records[position].image_id,
            camera=self.cameras[position],
            expression=self.expressions[position],
            image=image.contiguous(),
            matte=matte.contiguous(),
            torso=self.torsos[position],
        )

    def prefetch(self, positions: Iterable[int]) -> None:
        """Start to decode frames in the background; a hint: the oldest give way when too many wait."""
        with self._lock:
            for position in positions:
                if position in self._cache or position in self._pending:
                    continue
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(DECODER_THREADS, thread_name_prefix="decoder")
                self._pending[position] = self._pool.submit(self._load, position)
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

    def _pixels(self, position: int) -> Tensor:  # [H, W, 4] uint8
        with self._lock:
            kept, future = self._cache.get(position), self._pending.pop(position, None)
        if kept is not None:
            return kept
        pixels = self._load(position) if future is None else future.result()
        with self._lock:
            if len(self._cache) < self.num_cached_at_most:
                self._cache[position] = pixels = pixels.to(self.data_device)
        return pixels

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
