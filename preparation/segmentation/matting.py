"""Soft foreground mattes: a segmentation network, steadied in time, refined at the frame's edges.

The network works at 256 x 256 and forgets the frame before. Its matte is averaged with those of the
neighbouring frames where the picture has not changed, then fitted to the colours of the frame by
`guided_filter.py`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from preparation.segmentation.guided_filter import refine

# Pixels a side, of the mattes that are averaged in time.
WORKING_SIZE = 256
# Grey levels: a change so large about halves the weight of the neighbouring frame.
SAME_PICTURE = 6.0

Item = TypeVar("Item")
# Frame [H, W, 3] uint8 RGB -> classes or matte [C, H, W] float32.
Network = Callable[[np.ndarray], np.ndarray]


def person_confidence(classes: np.ndarray) -> np.ndarray:  # [C, H, W] -> [H, W]
    """The matte in a network's output: its only class, or all but the first, which is the background."""
    return np.clip(classes[0] if len(classes) == 1 else 1 - classes[0], 0, 1)


class Matted(NamedTuple):
    """A frame with its matte."""

    frame: np.ndarray  # [H, W, 3] uint8
    matte: np.ndarray  # [H, W] float32 in [0, 1]
    # The network's, as it came.
    coarse: np.ndarray  # [h, w] float32


def mattes(frames: Iterable[np.ndarray], networks: Sequence[Network]) -> Iterator[Matted]:
    """Matte frames [H, W, 3] uint8 one after another, with a few in memory at once.

    `networks` are alike; each is used by one thread at a time.
    """
    idle: SimpleQueue[Network] = SimpleQueue()
    for network in networks:
        idle.put(network)

    def segment(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        network = idle.get()
        try:
            classes = network(frame)
        finally:
            idle.put(network)
        small = (WORKING_SIZE, WORKING_SIZE)
        coarse = cv2.resize(person_confidence(classes), small, interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(cv2.resize(frame, small, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        return frame, coarse, cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.5)

    for before, now, after in _with_neighbours(ordered_map(segment, frames, len(networks))):
        frame, coarse, gray = now
        steady, total = coarse.copy(), np.ones_like(coarse)
        for neighbour in (before, after):
            if neighbour is not None:
                weight = np.exp(-0.5 * ((neighbour[2] - gray) / SAME_PICTURE) ** 2)
                steady += weight * neighbour[1]
                total += weight
        yield Matted(frame, refine(steady / total, frame), coarse)


def flicker(before: np.ndarray, now: np.ndarray, after: np.ndarray) -> float:
    """How far a matte differs from the mean of its neighbours in time: mean over the frame, 255 is one."""
    return float(255 * np.abs(now - 0.5 * (before + after)).mean())


def ordered_map(function: Callable[[Item], object], items: Iterable[Item], num_workers: int) -> Iterator:
    """Map in threads, in order, with only a few items at once in memory."""
    waiting: deque = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _with_neighbours(items: Iterable[Item]) -> Iterator[tuple[Item | None, Item, Item | None]]:
    before = now = None
    for after in items:
        if now is not None:
            yield before, now, after
        before, now = now, after
    if now is not None:
        yield before, now, None
