"""What a rendered set of views leaves on disk, in the folders of the 3DGS family:

renders/00000.png   gt/00000.png   depth/00000.png   video.mp4 (truth | render)   metrics.json

Of a transparent set the pictures have alpha, and the film is a video.webm or video.mov with alpha.
"""

import contextlib
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rendering.picture_scores import score_pictures
from utils.files import remove_leftovers
from utils.images import (
    color_nearness,
    depth_range,
    nearness_of,
    quantized,
    side_by_side,
    to_uint8,
    with_alpha,
    with_label,
    write_png,
)
from utils.json_files import finite, write_json
from utils.metrics import Scores
from utils.threads import MOST_THREADS, opencv_on_one_core, usable_cores
from utils.video import FfmpegMissing, SoundTrack, VideoWriter

DEFINITIONS = {
    "images": "float32, clamped to [0, 1], before rounding to 8 bits; means are over views",
    "l1": "mean absolute difference",
    "psnr": "dB, -10 log10 of the mean squared difference of a view; null for equal images",
    "ssim": "Wang et al. 2004: 11 x 11 Gaussian window, sigma 1.5, zero padding, K1 0.01, K2 0.03",
}
# Threads that fetch pictures from the device and encode them, which leaves the interpreter lock, so that
# drawing goes on meanwhile.
_WRITERS = min(MOST_THREADS, usable_cores())
# Pictures that a GPU prepares and compares at a time, and pixels of all of them.
_AT_ONCE, _PIXELS_AT_ONCE = 8, 1 << 22
# So many views may wait, which bounds the memory when encoders or disk are slower than the renderer.
_MAX_WAITING = 2 * _WRITERS


class _View(NamedTuple):
    """A view that waits for others, to be prepared with them."""

    index: int
    image_id: int | None
    companion: Tensor | None
    image: Tensor  # [3, H, W]
    depth: Tensor  # [H, W]
    alpha: Tensor  # [H, W]
    truth: Tensor | None  # [3, H, W]


class RenderWriter:
    """Takes views one after another and writes them; a context manager.

    `alpha_format`, webm or mov, makes the set transparent; `sound` is heard in the film. Files
    of an earlier set in `folder` are removed. The video and metrics.json appear when the block ends without
    an exception; metrics.json only where truth was given. Where ffmpeg cannot be started, one line says so
    and everything but the video is written.
    Raises UserError where the file system refuses.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        split: str,
        iteration: int,
        fps: float = 25.0,
        alpha_format: str | None = None,
        has_film: bool = True,
        sound: SoundTrack | None = None,
    ) -> None:
        self._folder = Path(folder)
        self._header = {"split": split, "iteration": iteration}
        self._held: list[_View] = []
        self._views: list[tuple[int, int | None]] = []
        # As they come from the device: to look at each of them would wait for it.
        self._scores: list[Tensor] = []  # [views at once, 3]
        self._depth_limits: tuple[float, float] | None = None
        self._transparent = alpha_format is not None
        film = self._folder / f"video.{alpha_format or 'mp4'}"
        self._video: VideoWriter | None = VideoWriter(film, fps, sound) if has_film else None
        self._pool = ThreadPoolExecutor(_WRITERS)
        # Frames have an order; what they wait for runs in the pool.
        self._film_maker = ThreadPoolExecutor(1)
        self._waiting: deque[Future] = deque()
        self._remove_earlier()

    def write(
        self,
        index: int,
        image: Tensor,
        truth: Tensor | None,
        depth: Tensor,
        alpha: Tensor,
        image_id: int | None = None,
        companion: Tensor | None = None,
    ) -> None:
        """Write view `index`, and score it if there is a truth.

        `image` and `truth` [3, H, W]; `depth` (sum of weight x camera z) and `alpha` [H, W]. `image_id`
        goes into metrics.json. Depth is coloured by the range of the first view. `companion` [3, H, any] is
        shown beside the image in the film. An image of a set with an alpha format is one on black. Views of a
        set are of one size, and all or none have a truth.
        """
        if self._depth_limits is None:
            self._depth_limits = depth_range(depth, alpha)
        self._held.append(_View(index, image_id, companion, image, depth, alpha, truth))
        if len(self._held) >= _views_at_once(depth):
            self._write_held()

    def _write_held(self) -> None:
        if not self._held:
            return
        held, self._held = self._held, []
        image, depth, alpha = (
            torch.stack([getattr(view, name) for view in held]) for name in ("image", "depth", "alpha")
        )
        pictures = quantized(with_alpha(image, alpha) if self._transparent else image)
        truths = [None] * len(held)
        if held[0].truth is not None:
            truth = torch.stack([view.truth for view in held])
            truths = quantized(truth)
            self._views += [(view.index, view.image_id) for view in held]
            self._scores.append(torch.stack(score_pictures(image, truth), dim=1))
        films = self._video is not None
        nearness = nearness_of(depth, alpha, self._depth_limits)
        for view, picture, true, *depths in zip(held, pictures, truths, *nearness, strict=True):
            self._later(self._pool, self._save_depth, view.index, *depths)
            frame = self._later(
                self._pool, self._save_pictures, view.index, picture, true, view.companion, films
            )
            if films:
                self._later(self._film_maker, self._add_to_video, frame)

    def latest_psnr(self) -> float | None:
        """Of the newest view that was scored, dB; waits for the device."""
        return float(self._scores[-1][-1, 1]) if self._scores else None

    def means(self) -> dict[str, float] | None:
        """Average l1, psnr (dB) and ssim over the views so far; None where none had a truth."""
        if not self._views:
            return None
        means = np.mean(np.array(self._numbers()), axis=0)
        return dict(zip(Scores._fields, means.tolist(), strict=True))

    def _numbers(self) -> list[list[float]]:
        return torch.cat(self._scores).tolist()

    def __enter__(self) -> "RenderWriter":
        self._opencv = opencv_on_one_core()
        self._opencv.__enter__()
        return self

    def __exit__(self, exception_type: type[BaseException] | None, *rest: object) -> None:
        try:
            if exception_type is None:
                self._write_held()
                for future in self._waiting:
                    future.result()
        except BaseException:
            self._close(*sys.exc_info())
            raise
        self._close(exception_type, *rest)

    def _close(self, exception_type: type[BaseException] | None, *rest: object) -> None:
        # Nothing is left to be cancelled but after an exception.
        for pool in (self._pool, self._film_maker):
            pool.shutdown(wait=True, cancel_futures=True)
        self._opencv.__exit__(None, None, None)
        if self._video is not None:
            self._video.__exit__(exception_type, *rest)
        if exception_type is None and self._views:
            self._write_metrics()

    def _save_pictures(
        self, index: int, picture: Tensor, true: Tensor | None, companion: Tensor | None, films: bool
    ) -> np.ndarray | None:
        """Write render and truth, uint8 [H, W, C]; return the frame of the film, if there is one."""
        rendered = picture.cpu().numpy()
        self._save("renders", index, rendered)
        if true is not None:
            pixels = true.cpu().numpy()
            self._save("gt", index, pixels)
            pair = (with_label(pixels, "truth"), with_label(rendered, "render")) if films else ()
        elif companion is not None and not self._transparent:
            pair = (with_label(to_uint8(companion), "driver"), with_label(rendered, "avatar"))
        else:
            return rendered
        return side_by_side(pair) if pair else None

    def _save_depth(self, index: int, nearness: Tensor, weight: Tensor) -> None:
        self._save("depth", index, color_nearness(nearness, weight))

    def _save(self, kind: str, index: int, pixels: np.ndarray) -> None:
        write_png(self._folder / kind / f"{index:05d}.png", pixels)

    def _add_to_video(self, frame: "Future[np.ndarray]") -> None:
        if self._video is None or frame.cancelled():
            return
        try:
            self._video.write(frame.result())
        except FfmpegMissing as error:
            print(f"warning: no video: {error}", file=sys.stderr)
            self._video = None

    def _later(self, pool: ThreadPoolExecutor, function: Callable, *arguments: object) -> Future:
        future = pool.submit(function, *arguments)
        self._waiting.append(future)
        while len(self._waiting) > 3 * _MAX_WAITING:
            self._waiting.popleft().result()
        return future

    def _write_metrics(self) -> None:
        content = {
            **self._header,
            "num_views": len(self._views),
            "mean": finite(self.means()),
            "definitions": DEFINITIONS,
            "per_view": [
                finite({"index": index, "image_id": image_id, **dict(zip(Scores._fields, row, strict=True))})
                for (index, image_id), row in zip(self._views, self._numbers(), strict=True)
            ],
        }
        write_json(self._folder / "metrics.json", content)

    def _remove_earlier(self) -> None:
        # The two pictures are metrics.py's.
        names = ("metrics.json", "strips.png", "details.png", "live_link.csv")
        names += tuple(f"video.{suffix}" for suffix in ("mp4", "webm", "mov"))
        stale = [self._folder / name for name in names]
        remove_leftovers(self._folder)
        for kind in ("renders", "gt", "depth"):
            remove_leftovers(self._folder / kind)
            stale += (self._folder / kind).glob("[0-9][0-9][0-9][0-9][0-9].png")
        for path in stale:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _views_at_once(depth: Tensor) -> int:
    """How many views of this size to prepare together: on the CPU several gain nothing."""
    return max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // depth.numel())) if depth.is_cuda else 1
