"""Films that every player opens: H.264, yuv420p, BT.709, index in front; written by imageio. With alpha: VP9
in a WebM, which browsers lay over something else, or ProRes 4444 in a MOV, which editors do."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
from imageio.core.format import Format

from utils.errors import UserError
from utils.files import partial_path, put_in_place

# On x264's scale 0 is lossless and 23 is its default; 17 is hard to tell from the frames.
CONSTANT_RATE_FACTOR = 17

# Without the matrix and its tags, players guess BT.601 or BT.709 by the size of the picture.
_MATRIX = (
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
)
_COLORS = (*_MATRIX, *("-crf", str(CONSTANT_RATE_FACTOR)))


# A sound track that begins after its file gets silence before it, so that sound and film share their zero.
SOUND_START = "aresample=async=1:first_pts=0"
_SOUND_RATE = ("-ar", "48000")


class SoundTrack(NamedTuple):
    """The sound of a film: a file, and how long the film is, to which it is cut or followed by silence."""

    path: Path
    seconds: float


class _Encoding(NamedTuple):
    codec: str
    pixel_format: str
    channels: int
    options: tuple[str, ...]
    sound_codec: str
    sound_options: tuple[str, ...]


_ENCODINGS = {
    ".mp4": _Encoding(
        *("libx264", "yuv420p", 3, (*_COLORS, *("-preset", "fast"), *("-movflags", "+faststart"))),
        *("aac", ("-b:a", "192k")),
    ),
    # A bit rate of 0 leaves it to the quality.
    ".webm": _Encoding(
        *("libvpx-vp9", "yuva420p", 4, (*_COLORS, *("-b:v", "0", "-cpu-used", "5"))),
        *("libopus", ("-b:a", "128k")),
    ),
    # ProRes knows no constant rate factor. Of 8 bits of alpha full ones come back as 253, of 16 as 255.
    ".mov": _Encoding(
        *("prores_ks", "yuva444p10le", 4, (*_MATRIX, *("-profile:v", "4444", "-alpha_bits", "16"))),
        *("pcm_s16le", ()),
    ),
}


class FfmpegMissing(UserError):
    """There is no ffmpeg that can be started, or it lacks the encoder."""


class VideoWriter:
    """Write 8-bit frames, all of one size, to an .mp4 ([H, W, 3], RGB) or with alpha to a .webm or .mov
    ([H, W, 4]); a context manager.

    yuv420p needs even sizes: an odd one gets its last row or column twice, in a .mov, too. The file appears
    when the block ends without an exception and at least one frame was written. `sound`: AAC in an .mp4,
    Opus in a .webm, PCM in a .mov. Raises UserError where ffmpeg fails, FfmpegMissing where it cannot start.
    """

    def __init__(self, path: str | Path, fps: float = 25.0, sound: SoundTrack | None = None) -> None:
        self._path = Path(path)
        self._partial = partial_path(path)
        self._fps, self._sound = fps, sound
        self._encoding = _ENCODINGS[self._path.suffix]
        self._shape: tuple[int, ...] | None = None
        self._film: Format.Writer | None = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame."""
        channels = self._encoding.channels
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != channels:
            found = f"{frame.dtype} {list(frame.shape)}"
            raise ValueError(f"frame: expected 8 bits [H, W, {channels}], got {found}")
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
        encoding = self._encoding
        _check_ffmpeg(self._path, encoding.codec)
        options, sound = list(encoding.options), {}
        if self._sound is not None:
            _check_ffmpeg(self._path, encoding.sound_codec)
            # Not -shortest, which overshoots by two frames.
            length = f"apad,atrim=end={self._sound.seconds:.6f}"
            options += ["-af", f"{SOUND_START},{length}", *_SOUND_RATE, *encoding.sound_options]
            sound = {"audio_path": f"file:{self._sound.path}", "audio_codec": encoding.sound_codec}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A block size of 1, since imageio would otherwise scale the frames to a multiple of 16.
            return imageio.get_writer(
                self._partial,
                format="FFMPEG",
                mode="I",
                fps=self._fps,
                codec=encoding.codec,
                pixelformat=encoding.pixel_format,
                quality=None,
                macro_block_size=1,
                ffmpeg_log_level="error",
                output_params=options,
                **sound,
            )
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {_first_line(error)}") from error


def _check_ffmpeg(path: Path, codec: str) -> None:
    try:
        imageio_ffmpeg.get_ffmpeg_version()
        # Every ffmpeg has x264; of the others some builds know nothing.
        has_codec = codec == "libx264" or codec in _encoders()
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        raise FfmpegMissing(f"{path}: ffmpeg cannot be started: {_first_line(error)}") from error
    if not has_codec:
        raise FfmpegMissing(f"{path}: this ffmpeg has no encoder {codec}")


def _encoders() -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-encoders"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _first_line(error: BaseException) -> str:
    # Below it imageio-ffmpeg repeats its command; what ffmpeg itself has to say went to stderr.
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
