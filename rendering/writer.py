"""What a rendered set of views leaves on disk, in the folders of the 3DGS family:

renders/00000.png   gt/00000.png   depth/00000.png   video.mp4 (truth | render)   metrics.json

Of a transparent set the pictures have alpha, and the film is a video.webm or video.mov with alpha.
"""

import contextlib
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from torch import Tensor

from utils.images import (
    depth_range,
    depth_to_color,
    side_by_side,
    to_uint8,
    with_alpha,
    with_label,
    write_png,
)
from utils.json_files import finite, write_json
from utils.metrics import Scores, score
from utils.video import FfmpegMissing, VideoWriter

DEFINITIONS = {
    "images": "float32, clamped to [0, 1], before rounding to 8 bits; means are over views",
    "l1": "mean absolute difference",
    "psnr": "dB, -10 log10 of the mean squared difference of a view; null for equal images",
    "ssim": "Wang et al. 2004: 11 x 11 Gaussian window, sigma 1.5, zero padding, K1 0.01, K2 0.03",
}
# Threads that encode PNGs, which leaves the interpreter lock, so that rendering goes on meanwhile.
_WRITERS = 2
# So many files may wait, which bounds the memory when the disk is slower than the renderer.
_MAX_WAITING = 32


class RenderWriter:
    """Takes views one after another and writes them; a context manager.

    `alpha_format`, webm or mov, makes the set transparent. Files of an earlier set in `folder` are removed.
    The video and metrics.json appear when the block ends without an exception; metrics.json only where truth
    was given. Where ffmpeg cannot be started, one line says so and everything but the video is written.
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
    ) -> None:
        self._folder = Path(folder)
        self._header = {"split": split, "iteration": iteration}
        self._views: list[dict] = []
        self._depth_limits: tuple[float, float] | None = None
        self._transparent = alpha_format is not None
        film = self._folder / f"video.{alpha_format or 'mp4'}"
        self._video: VideoWriter | None = VideoWriter(film, fps) if has_film else None
        self._pool = ThreadPoolExecutor(_WRITERS)
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
    ) -> Scores | None:
        """Write view `index` and return its scores, if there is a truth.

        `image` and `truth` [3, H, W]; `depth` (sum of weight x camera z) and `alpha` [H, W]. `image_id`
        goes into metrics.json. Depth is coloured by the range of the first view. `companion` [3, H, any] is
        shown beside the image in the film. An image of a set with an alpha format is one on black.
        """
        if self._depth_limits is None:
            self._depth_limits = depth_range(depth, alpha)
        rendered = to_uint8(with_alpha(image, alpha) if self._transparent else image)
        self._save("renders", index, rendered)
        self._save("depth", index, depth_to_color(depth, alpha, self._depth_limits))
        if truth is None:
            if companion is not None and not self._transparent:
                pair = (with_label(to_uint8(companion), "driver"), with_label(rendered, "avatar"))
                rendered = side_by_side(pair)
            self._add_to_video(rendered)
            return None
        true = to_uint8(truth)
        self._save("gt", index, true)
        self._add_to_video(side_by_side([with_label(true, "truth"), with_label(rendered, "render")]))
        scores = score(image, truth)
        numbers = {name: float(value) for name, value in scores._asdict().items()}
        self._views.append({"index": index, "image_id": image_id, **numbers})
        return scores

    def means(self) -> dict[str, float] | None:
        """Average l1, psnr (dB) and ssim over the views so far; None where none had a truth."""
        if not self._views:
            return None
        return {name: float(np.mean([view[name] for view in self._views])) for name in Scores._fields}

    def __enter__(self) -> "RenderWriter":
        return self

    def __exit__(self, exception_type: object, *rest: object) -> None:
        has_failed = exception_type is not None
        self._pool.shutdown(wait=True, cancel_futures=has_failed)
        if self._video is not None:
            self._video.__exit__(exception_type, *rest)
        if has_failed:
            return
        for future in self._waiting:
            future.result()
        if self._views:
            self._write_metrics()

    def _add_to_video(self, frame: np.ndarray) -> None:
        if self._video is None:
            return
        try:
            self._video.write(frame)
        except FfmpegMissing as error:
            print(f"warning: no video: {error}", file=sys.stderr)
            self._video = None

    def _save(self, kind: str, index: int, pixels: np.ndarray) -> None:
        path = self._folder / kind / f"{index:05d}.png"
        self._waiting.append(self._pool.submit(write_png, path, pixels))
        while len(self._waiting) > _MAX_WAITING:
            self._waiting.popleft().result()

    def _write_metrics(self) -> None:
        content = {
            **self._header,
            "num_views": len(self._views),
            "mean": finite(self.means()),
            "definitions": DEFINITIONS,
            "per_view": [finite(view) for view in self._views],
        }
        write_json(self._folder / "metrics.json", content)

    def _remove_earlier(self) -> None:
        # The two pictures are metrics.py's.
        names = ("metrics.json", "strips.png", "details.png", "live_link.csv")
        names += tuple(f"video.{suffix}" for suffix in ("mp4", "webm", "mov"))
        stale = [self._folder / name for name in names]
        for kind in ("renders", "gt", "depth"):
            stale += (self._folder / kind).glob("[0-9][0-9][0-9][0-9][0-9].png")
        for path in stale:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
