"""Sounds of known content, made by formulas."""

import subprocess

import imageio_ffmpeg
import numpy as np

from rendering.driving.speech.vowels import FORMANTS


def vowel(name: str, seconds: float, rate: int = 16000, pitch: float = 120.0) -> np.ndarray:
    """A voice [T] that holds a vowel: harmonics, each as loud as second-order resonators let it through."""
    times = np.arange(round(seconds * rate)) / rate
    voice = np.zeros_like(times)
    for harmonic in np.arange(pitch, min(4000, rate / 2), pitch):
        gain = 1 / harmonic
        for center in FORMANTS[name][0]:
            gain *= center**2 / np.hypot(center**2 - harmonic**2, 90 * harmonic)
        voice += gain * np.sin(2 * np.pi * harmonic * times)
    return 0.5 * voice / np.abs(voice).max()


def write(path, samples: np.ndarray, rate: int = 16000, codec: tuple[str, ...] = ()) -> None:
    """Write samples [T] or [T, 2] by ffmpeg, in the codec that the name or `codec` says."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "f32le", "-ar", str(rate)]
    command += ["-ac", str(channels), "-i", "-", *codec, str(path)]
    subprocess.run(command, input=samples.astype("<f4").tobytes(), check=True)
