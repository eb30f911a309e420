"""Videos that every player opens: H.264, yuv420p, BT.709, index in front, by the ffmpeg of imageio-ffmpeg."""

import os
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from utils.errors import UserError

CONSTANT_RATE_FACTOR = 17  # x264's scale: 0 is lossless, 23 its default; 17 is hard to tell from the frames


class FfmpegMissing(UserError):
    """There is no ffmpeg that can be started."""


class VideoWriter:
    """Write 8-bit frames [H, W, 3] (RGB), all of one size, to an .mp4; a context manager.

    H.264 with yuv420p needs even sizes: an odd one gets its last row or column twice. (imageio would resize
    such frames to a multiple of 16, silently.) The file appears when the block ends without an exception and
    at least one frame was written. Raises UserError where ffmpeg fails, FfmpegMissing where it cannot start.
    """

    def __init__(self, path: str | Path, fps: float = 25.0) -> None:
        self._path = Path(path)
        self._partial = self._path.with_name(f".{self._path.stem}.{os.getpid()}.part.mp4")
        self._fps = fps
        self._shape: tuple[int, ...] | None = None
        self._encoder = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"frame: expected 8 bits [H, W, 3], got {frame.dtype} {list(frame.shape)}")
        if self._shape is None:
            self._shape = frame.shape
            self._encoder = self._start(frame.shape[0], frame.shape[1])
        if frame.shape != self._shape:
            raise ValueError(f"frame: expected {list(self._shape)} as before, got {list(frame.shape)}")
        padding = ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0))
        try:
            self._encoder.send(np.ascontiguousarray(np.pad(frame, padding, mode="edge")))
        except (OSError, StopIteration) as error:
            raise UserError(f"{self._path}: ffmpeg failed: {_last_line(error)}") from error

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, exception_type: object, *rest: object) -> None:
        if self._encoder is None:
            return
        try:
            self._encoder.close()  # waits until ffmpeg has written the index
            if exception_type is None:
                os.replace(self._partial, self._path)
        except OSError as error:
            if exception_type is None:  # else ffmpeg may be gone too: Ctrl-C reaches both processes
                raise UserError(f"{self._path}: cannot be written: {_last_line(error)}") from error
        finally:
            self._partial.unlink(missing_ok=True)

    def _start(self, height: int, width: int):
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            encoder = imageio_ffmpeg.write_frames(
                str(self._partial),
                (width + width % 2, height + height % 2),
                fps=self._fps,
                codec="libx264",
                pix_fmt_out="yuv420p",
                quality=None,
                macro_block_size=1,
                ffmpeg_log_level="error",
                output_params=_encoder_options(),
            )
            encoder.send(None)  # starts ffmpeg
        except (OSError, RuntimeError) as error:  # RuntimeError: no ffmpeg executable
            raise FfmpegMissing(f"{self._path}: ffmpeg cannot be started: {_last_line(error)}") from error
        return encoder


def _encoder_options() -> list[str]:
    # Without the matrix and its tags, players guess BT.601 or BT.709 by the size of the picture.
    colors = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    matrix = ["-vf", "scale=out_color_matrix=bt709:out_range=tv"]
    rate = ["-crf", str(CONSTANT_RATE_FACTOR), "-preset", "fast"]
    return [*matrix, *colors, *rate, "-movflags", "+faststart"]


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
