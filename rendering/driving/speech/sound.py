"""Sound files of any kind that ffmpeg knows, as 16 kHz mono."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from utils.errors import UserError
from utils.video import SOUND_START, FfmpegMissing

# Samples per second.
RATE = 16_000
# Seconds: longer speech is a mistake, or better cut.
LONGEST, SHORTEST = 1800, 0.1
# Of full scale: louder samples are no sound, but numbers of another unit.
_LARGEST_SAMPLE = 100.0


@dataclass(frozen=True, eq=False)
class Sound:
    """A mono sound at `RATE`."""

    source: Path
    samples: np.ndarray  # [T] float32, full scale is 1

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


def read_sound(path: Path) -> Sound:
    """Read the first sound track of a file; several channels become their mean.

    A track that begins later than its file, as one in a film may, begins with silence. Raises UserError for
    what has no sound, is too short or too long, FfmpegMissing where ffmpeg cannot be started.
    """
    if not path.is_file():
        raise UserError(
            f"--audio {path}: {'is a folder; expected a sound file' if path.exists() else 'no such file'}"
        )
    # Files only: a playlist must not fetch what it names.
    command = ["-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    # Without the largest value ffmpeg makes two equal channels louder by 3 dB.
    mean = f"{SOUND_START}:out_chlayout=mono:rematrix_maxval=1"
    command += ["-map", "0:a:0", "-af", mean, "-ac", "1", "-ar", str(RATE)]
    command += ["-t", str(LONGEST + 1), "-f", "f32le", "-"]
    try:
        run = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *command], capture_output=True)
    except (OSError, RuntimeError) as error:
        raise FfmpegMissing(f"--audio {path}: ffmpeg cannot be started: {error}") from error
    samples = np.frombuffer(run.stdout[: len(run.stdout) // 4 * 4], "<f4")
    if run.returncode != 0 and not len(samples):
        lines = run.stderr.decode(errors="replace").strip().splitlines()
        reason = f" ({lines[-1]})" if lines else ""
        raise UserError(
            f"--audio {path}: expected a sound file, found nothing that ffmpeg can decode{reason}"
        )
    seconds = len(samples) / RATE
    if seconds < SHORTEST:
        raise UserError(f"--audio {path}: expected at least {SHORTEST:g} s of sound, found {seconds:.3g} s")
    if seconds > LONGEST:
        raise UserError(f"--audio {path}: expected at most {LONGEST // 60} minutes; cut it first")
    # NaN is refused too.
    if not np.abs(samples).max() <= _LARGEST_SAMPLE:
        raise UserError(
            f"--audio {path}: expected samples about [-1, 1], found {samples.min():g} to {samples.max():g}"
        )
    return Sound(path, samples)
