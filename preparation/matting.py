"""Soft foreground mattes: a segmentation network, steadied in time, refined at the frame's edges.

The network works at 256 x 256 and forgets the frame before. Its matte is averaged with those of the
neighbouring frames where the picture has not changed, then fitted to the colours of the frame by a guided
filter (He et al. 2013), which puts the edge where the picture has one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from utils.errors import UserError

WORKING_SIZE = 256  # pixels, of the mattes that are averaged in time
SAME_PICTURE = 6.0  # grey levels: a change so large halves the weight (about) of the neighbouring frame
GUIDED_RADIUS = 0.015  # of the frame's side
GUIDED_EPSILON = 2e-4  # squared intensity, in [0, 1]: contrast below its root is smoothed over
# The filter softens edges; this undoes it. Mean error against IS-Net mattes of two clips, with and without
# the gain: 0.0047 and 0.0075 (0.0059 before the filter), 0.0041 and 0.0059 (0.0052).
EDGE_GAIN = 1.7

Item = TypeVar("Item")
Network = Callable[[np.ndarray], np.ndarray]  # [H, W, 3] uint8 RGB -> classes or matte [C, H, W] float32


def person_confidence(classes: np.ndarray) -> np.ndarray:  # [C, H, W] -> [H, W]
    """The matte in a network's output: its only class, or all but the first, which is the background."""
    return np.clip(classes[0] if len(classes) == 1 else 1 - classes[0], 0, 1)


class Matted(NamedTuple):
    """A frame with its matte."""

    frame: np.ndarray  # [H, W, 3] uint8
    matte: np.ndarray  # [H, W] float32 in [0, 1]
    coarse: np.ndarray  # [h, w] float32, the network's, as it came


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


def refine(coarse: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Fit a matte [h, w] to the colours of a frame [H, W, 3] uint8; returns [H, W] float32 in [0, 1].

    The linear models are found at half size and applied at full size (He and Sun 2015).
    """
    height, width = frame.shape[:2]
    half = (max(1, width // 2), max(1, height // 2))
    guide = cv2.resize(frame, half, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    matte = cv2.resize(coarse.astype(np.float32), half, interpolation=cv2.INTER_LINEAR)
    radius = max(1, round(GUIDED_RADIUS * min(half)))
    slopes, offset = _guided_models(guide, matte, radius)
    slopes = cv2.resize(slopes, (width, height), interpolation=cv2.INTER_LINEAR)
    offset = cv2.resize(offset, (width, height), interpolation=cv2.INTER_LINEAR)
    fitted = np.einsum("hwc,hwc->hw", slopes, frame.astype(np.float32) / 255) + offset
    return np.clip((fitted - 0.5) * EDGE_GAIN + 0.5, 0, 1)


def flicker(before: np.ndarray, now: np.ndarray, after: np.ndarray) -> float:
    """How far a matte differs from the mean of its neighbours in time: mean over the frame, 255 is one."""
    return float(255 * np.abs(now - 0.5 * (before + after)).mean())


class OnnxMatting:
    """A matting network from a file: takes RGB in [-1, 1] as [1, 3, h, w], gives a matte in [0, 1] first."""

    def __init__(self, path: Path, default_size: int = 512) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise UserError("--matting: no module named onnxruntime: pip install onnxruntime") from None
        if not path.is_file():
            raise UserError(f"--matting {path}: no such file; expected an ONNX model")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its errors are exceptions too, and those we print
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UserError(f"--matting {path}: onnxruntime cannot load it ({error})") from None
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not _holds_pictures(inputs[0].shape):
            found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs) or "nothing"
            raise UserError(
                f"--matting {path}: takes {found}; expected one tensor(float) [1, 3, height, width]"
            )
        self._input = inputs[0]
        sides = [side if isinstance(side, int) else default_size for side in self._input.shape[-2:]]
        self._size = (sides[1], sides[0])
        self._try_out(path)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        small = cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA).astype(np.float32) / 127.5 - 1
        answer = self._session.run(None, {self._input.name: small.transpose(2, 0, 1)[None]})[0]
        matte = np.asarray(answer, np.float32).reshape(answer.shape[-2:])
        return cv2.resize(matte, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)[None]

    def _try_out(self, path: Path) -> None:
        """Raise UserError where a frame does not become one matte."""
        gray = np.zeros((1, 3, *self._size[::-1]), np.float32)
        try:
            answer = self._session.run(None, {self._input.name: gray})[0]
        except Exception as error:
            raise UserError(f"--matting {path}: fails on {list(gray.shape)} ({error})") from None
        shape = list(answer.shape)
        if len(shape) < 2 or min(shape[-2:]) < 2 or answer.size != shape[-2] * shape[-1]:
            raise UserError(f"--matting {path}: gives {shape}; expected a matte [1, 1, height, width]")
        low, high = float(np.min(answer)), float(np.max(answer))
        if not (low >= -0.1 and high <= 1.1):  # NaN too
            raise UserError(f"--matting {path}: gives {low:.3g} to {high:.3g}; expected a matte in [0, 1]")


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


def _holds_pictures(shape: Sequence[int | str | None]) -> bool:
    """Whether a network's input can be [1, 3, height, width]; what is no number is free."""
    wanted = zip(shape, (1, 3), strict=False)
    return len(shape) == 4 and all(have == want for have, want in wanted if isinstance(have, int))


def _with_neighbours(items: Iterable[Item]) -> Iterator[tuple[Item | None, Item, Item | None]]:
    before = now = None
    for after in items:
        if now is not None:
            yield before, now, after
        before, now = now, after
    if now is not None:
        yield before, now, None


def _guided_models(guide: np.ndarray, target: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Local linear models of the target [h, w] in the guide's colours: slopes [h, w, 3], offsets [h, w]."""
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, window, borderType=cv2.BORDER_REFLECT)

    color, level = mean(guide), mean(target)
    covariance = mean(guide * target[..., None]) - color * level[..., None]  # [h, w, 3]
    products = np.stack([guide[..., i] * guide[..., j] for i, j in _PAIRS], axis=-1)
    rr, rg, rb, gg, gb, bb = np.moveaxis(
        np.dstack([mean(products[..., :3]), mean(products[..., 3:])])
        - np.stack([color[..., i] * color[..., j] for i, j in _PAIRS], axis=-1),
        -1,
        0,
    )
    rr, gg, bb = rr + GUIDED_EPSILON, gg + GUIDED_EPSILON, bb + GUIDED_EPSILON
    # The inverse of a symmetric 3 x 3 matrix, by cofactors.
    c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = rr * c_rr + rg * c_rg + rb * c_rb
    r, g, b = np.moveaxis(covariance, -1, 0)
    slopes = np.stack(
        [c_rr * r + c_rg * g + c_rb * b, c_rg * r + c_gg * g + c_gb * b, c_rb * r + c_gb * g + c_bb * b],
        axis=-1,
    )
    slopes /= determinant[..., None]
    offset = level - (slopes * color).sum(axis=-1)
    return mean(slopes), mean(offset)


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
