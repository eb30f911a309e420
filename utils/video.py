"""Films that every player opens: H.264, yuv420p, BT.709, index in front; written by imageio."""

import subprocess
from pathlib import Path

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
from imageio.core.format import Format

from utils.errors import UserError
from utils.files import partial_path, put_in_place

# On x264's scale 0 is lossless and 23 is its default; 17 is hard to tell from the frames.
CONSTANT_RATE_FACTOR = 17

# Without the matrix and its tags, players guess BT.601 or BT.709 by the size of the picture.
_ENCODER_OPTIONS = (
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    *("-crf", str(CONSTANT_RATE_FACTOR), "-preset", "fast"),
    *("-movflags", "+faststart"),
)


class FfmpegMissing(UserError):
    """There is no ffmpeg that can be started."""


class VideoWriter:
    """Write 8-bit frames [H, W, 3] (RGB), all of one size, to an .mp4; a context manager.

    yuv420p needs even sizes: an odd one gets its last row or column twice. The file appears when the block
    ends without an exception and at least one frame was written. Raises UserError where ffmpeg fails,
    FfmpegMissing where it cannot start.
    """

    def __init__(self, path: str | Path, fps: float = 25.0) -> None:
        self._path = Path(path)
        self._partial = partial_path(path)
        self._fps = fps
        self._shape: tuple[int, ...] | None = None
        self._film: Format.Writer | None = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"frame: expected 8 bits [H, W, 3], got {frame.dtype} {list(frame.shape)}")
        if self._film is None:
            self._film, self._shape = self._open(), frame.shape
        if frame.shape != self._shape:
            raise ValueError(f"frame: expected {list(self._shape)} as before, got {list(frame.shape)}")
        padding = ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0))
        try:
            self._film.append_data(np.pad(frame, padding, mode="edge"))
        except (OSError, StopIteration) as error:
            raise UserError(f"{self._path}: ffmpeg failed: {_first_line(error)}") from error

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, exception_type: object, *rest: object) -> None:
        if self._film is None:
            return
        try:
            # Waits until ffmpeg has written the index.
            self._film.close()
            if exception_type is None:
                if not self._partial.exists():
                    raise UserError(f"{self._path}: ffmpeg failed: it wrote nothing")
                put_in_place(self._partial, self._path)
        except OSError as error:
            # An exception of the block comes first: Ctrl-C reaches ffmpeg too.
            if exception_type is None:
                raise UserError(f"{self._path}: cannot be written: {_first_line(error)}") from error
        finally:
            self._partial.unlink(missing_ok=True)

    def _open(self) -> Format.Writer:
        _check_ffmpeg(self._path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A block size of 1, since imageio would otherwise scale the frames to a multiple of 16.
            return imageio.get_writer(
                self._partial,
                format="FFMPEG",
                mode="I",
                fps=self._fps,
                codec="libx264",
                pixelformat="yuv420p",
                quality=None,
                macro_block_size=1,
                ffmpeg_log_level="error",
                output_params=list(_ENCODER_OPTIONS),
            )
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {_first_line(error)}") from error


def _check_ffmpeg(path: Path) -> None:
    try:
        imageio_ffmpeg.get_ffmpeg_version()
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        raise FfmpegMissing(f"{path}: ffmpeg cannot be started: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    # Below it imageio-ffmpeg repeats its command; what ffmpeg itself has to say went to stderr.
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
