"""Reading a video with the ffmpeg of imageio-ffmpeg: what it is, and its frames as a stream.

Frames come through a pipe as PPM pictures, which carry their own size: rotation metadata, pixel aspect and
odd sizes are ffmpeg's business. A variable rate becomes the average rate; frames repeated to fill gaps are
left to `tracking/face_finding.py`, which drops exact repetitions.
"""

import functools
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from utils.errors import UserError

# Rates that ffmpeg prints rounded.
_EXACT_RATES = {23.98: 24000 / 1001, 29.97: 30000 / 1001, 59.94: 60000 / 1001}
_HDR = re.compile(r"arib-std-b67|smpte2084")
# HLG or PQ to BT.709: linear light in which 1 is the white of paper, 203 cd/m2 (ITU-R BT.2408), what is
# brighter rolled off.
_TONE_MAPPING = [
    *("zscale=t=linear:npl=203", "format=gbrpf32le", "zscale=p=bt709", "tonemap=tonemap=mobius"),
    *("zscale=t=bt709:m=bt709:r=tv", "format=yuv444p10le"),
]
_TURNS = {
    0: (),
    90: ("transpose=clock",),
    180: ("transpose=clock", "transpose=clock"),
    270: ("transpose=cclock",),
}


@dataclass(frozen=True)
class Video:
    """A file and the part of it to read; seconds."""

    path: Path
    # Frames per second, average.
    rate: float
    # Of the file; 0 where it does not say.
    duration: float
    start: float
    end: float | None
    is_hdr: bool
    # Degrees by which each frame is turned clockwise: 0, 90, 180 or 270.
    rotation: int = 0

    @property
    def is_tone_mapped(self) -> bool:
        """Whether it is HDR and this ffmpeg can bring it to the colours of an ordinary video."""
        return self.is_hdr and _has_zscale()

    @property
    def expected_frames(self) -> int:
        """How many frames the part has by its duration, at least 1."""
        end = min(self.end or self.duration, self.duration or np.inf)
        return max(1, round((end - self.start) * self.rate)) if np.isfinite(end) else 1


def open_video(path: Path, start: float = 0.0, end: float | None = None, rotation: int = 0) -> Video:
    """Read what ffmpeg says about a file. Raises UserError if it is no video or the part is outside of it."""
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "no such file"
        raise UserError(f"{path}: {found}; expected a video")
    if end is not None and end <= start:
        raise UserError(f"--end {end:g}: expected more than --start {start:g} (seconds)")
    command = [_ffmpeg(), "-hide_banner", "-nostdin", "-i", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, errors="replace").stderr
    stream = re.search(r"Stream #.*: Video: (.*)", said)
    # "attached pic": the cover of an audio file.
    if not stream or "attached pic" in stream[1]:
        reason = "it has no video stream" if "Stream #" in said else "ffmpeg cannot read it as a video"
        raise UserError(f"{path}: {reason}; expected a file that ffmpeg can decode, such as an .mp4 or .mov")
    rate = re.search(r"([\d.]+) fps", stream[1]) or re.search(r"([\d.]+) tbr", stream[1])
    rate = float(rate[1]) if rate else 25.0
    hms = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said)
    duration = int(hms[1]) * 3600 + int(hms[2]) * 60 + float(hms[3]) if hms else 0.0
    if duration and start >= duration:
        raise UserError(f"--start {start:g}: {path} lasts {duration:.2f} s; expected less")
    is_hdr = bool(_HDR.search(stream[1]))
    return Video(path, _EXACT_RATES.get(rate, rate), duration, start, end, is_hdr, rotation)


def frame_size(video: Video) -> tuple[int, int]:
    """Width and height of the upright video. Raises UserError where no frame can be decoded."""
    first = next(read_frames(video), None)
    if first is None:
        part = f" from {video.start:g} s on" if video.start else ""
        raise UserError(f"{video.path}: no frame could be decoded{part}; the file is damaged or empty")
    return first.shape[1], first.shape[0]


def read_frames(
    video: Video, max_side: int | None = None, crop: tuple[int, int, int, int] | None = None, every: int = 1
) -> Iterator[np.ndarray]:
    """Yield frames [H, W, 3] uint8 RGB, upright, at `video.rate` / `every`, one in memory at a time.

    max_side: shrink so that neither side is longer. crop: x, y, width, height in pixels of the upright video.
    Raises UserError where ffmpeg cannot be started.
    """
    filters = [f"fps={video.rate!r}"]
    if video.is_tone_mapped:
        filters += _TONE_MAPPING
    filters += ["scale=iw*sar:ih", "setsar=1", *_TURNS[video.rotation]]
    if every > 1:
        filters.append(f"select='not(mod(n,{every}))'")
    if max_side:
        filters.append(
            f"scale='min({max_side},iw)':'min({max_side},ih)':force_original_aspect_ratio=decrease"
        )
    # Before the crop: chroma would round its corner to even pixels.
    filters.append("format=rgb24")
    if crop:
        x, y, width, height = crop
        filters.append(f"crop={width}:{height}:{x}:{y}")
    part = ["-ss", f"{video.start:.6f}"] if video.start else []
    length = ["-t", f"{video.end - video.start:.6f}"] if video.end is not None else []
    source = [*part, *length, "-i", str(video.path), "-map", "0:v:0"]
    sink = ["-vf", ",".join(filters), "-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm", "pipe:1"]
    command = [_ffmpeg(), "-nostdin", "-loglevel", "error", *source, *sink]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, bufsize=1 << 20)
        try:
            while (frame := _read_ppm(process.stdout)) is not None:
                yield frame
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _read_ppm(stream) -> np.ndarray | None:
    """Read "P6 width height 255" and the pixels; None at the end, and where the last picture is cut off."""
    if stream.readline().strip() != b"P6":
        return None
    width, height = map(int, stream.readline().split())
    stream.readline()
    data = stream.read(width * height * 3)
    if len(data) < width * height * 3:
        return None
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


@functools.cache
def _has_zscale() -> bool:
    said = subprocess.run(
        [_ffmpeg(), "-hide_banner", "-filters"], capture_output=True, text=True, errors="replace"
    )
    return " zscale " in said.stdout


def _ffmpeg() -> str:
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise UserError(
            f"ffmpeg cannot be started: {error}; set IMAGEIO_FFMPEG_EXE to one of yours"
        ) from None
