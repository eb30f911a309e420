"""Videos that every player opens: H.264, yuv420p, BT.709, index in front; written by imageio."""

import contextlib
import os
from pathlib import Path

import imageio.v2 as imageio
import numpy as np

from utils.errors import UserError
from utils.files import replacing

# x264's scale: 0 is lossless, 23 its default; 17 is hard to tell from the frames.
CONSTANT_RATE_FACTOR = 17


class FfmpegMissing(UserError):
    """There is no ffmpeg that can be started."""


class _Abandoned(Exception):
    """The block ended with an exception: no file."""


class VideoWriter:
    """Write 8-bit frames [H, W, 3] (RGB), all of one size, to an .mp4; a context manager.

    H.264 with yuv420p needs even sizes: an odd one gets its last row or column twice, and nothing is resized.
    The file appears when the block ends without an exception and at least one frame was written. Raises
    UserError where ffmpeg fails, FfmpegMissing where it cannot start.
    """

    def __init__(self, path: str | Path, fps: float = 25.0) -> None:
        self._path, self._fps = Path(path), fps
        self._shape: tuple[int, ...] | None = None
        self._place = contextlib.ExitStack()
        self._writer = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"frame: expected 8 bits [H, W, 3], got {frame.dtype} {list(frame.shape)}")
        if self._shape is None:
            self._shape = frame.shape
            self._start()
        if frame.shape != self._shape:
            raise ValueError(f"frame: expected {list(self._shape)} as before, got {list(frame.shape)}")
        padding = ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0))
        try:
            self._writer.append_data(np.ascontiguousarray(np.pad(frame, padding, mode="edge")))
        except (FileNotFoundError, PermissionError, RuntimeError) as error:
            # The first frame starts ffmpeg, if there is one.
            raise FfmpegMissing(f"{self._path}: ffmpeg cannot be started: {_last_line(error)}") from error
        except (OSError, StopIteration) as error:
            raise UserError(f"{self._path}: ffmpeg failed: {_last_line(error)}") from error

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is None:
            return
        has_failed = exception[0] is not None
        with contextlib.suppress(_Abandoned), self._place:
            try:
                # Waits until ffmpeg has written the index.
                self._writer.close()
            except OSError as error:
                # After an exception ffmpeg may be gone too: Ctrl-C reaches both processes.
                if not has_failed:
                    raise UserError(f"{self._path}: cannot be written: {_last_line(error)}") from error
            if has_failed:
                raise _Abandoned

    def _start(self) -> None:
        partial = self._place.enter_context(replacing(self._path))
        self._writer = imageio.get_writer(
            os.fspath(partial),
            format="FFMPEG",
            fps=self._fps,
            codec="libx264",
            pixelformat="yuv420p",
            quality=None,
            macro_block_size=1,
            ffmpeg_log_level="error",
            output_params=_encoder_options(),
        )


def _encoder_options() -> list[str]:
    # Without the matrix and its tags, players guess BT.601 or BT.709 by the size of the picture.
    colors = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    matrix = ["-vf", "scale=out_color_matrix=bt709:out_range=tv"]
    rate = ["-crf", str(CONSTANT_RATE_FACTOR), "-preset", "fast"]
    return [*matrix, *colors, *rate, "-movflags", "+faststart"]


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
