"""What was seen in every frame, in files by chunks: it takes little memory and outlives an interruption."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from preparation.data_set.images_and_arrays import write_arrays
from preparation.tracking.landmarks import Face

# Frames in a file.
_CHUNK = 250


class Seen(NamedTuple):
    """What was seen in a frame."""

    face: Face | None
    sharpness: float
    # Why the frame cannot be used, "" if it can.
    reason: str
    thumbnail: np.ndarray  # [16, 16] uint8
    chip: np.ndarray  # [32, 32] uint8


class FaceCache:
    """What was seen, by frames: finished chunks in files, where they take no memory, the last one here."""

    def __init__(self, folder: Path) -> None:
        self.num_frames = 0
        self._folder = folder
        self._open: list[Seen] = []
        self._known: list[Seen] = []

    def append(self, seen: Seen) -> None:
        self._open.append(seen)
        self.num_frames += 1
        if len(self._open) == _CHUNK:
            path = self._path(self.num_frames - _CHUNK)
            if not path.exists():
                _write_chunk(path, self._open)
            self._open = []

    def known(self, frame: int) -> Seen | None:
        """What an earlier run saw in a frame; frames are asked for in order, ahead of `append`."""
        if frame % _CHUNK == 0:
            self._known = self._read(frame)
        row = frame % _CHUNK
        return self._known[row] if row < len(self._known) else None

    def __iter__(self) -> Iterator[Seen]:
        for first in range(0, self.num_frames - len(self._open), _CHUNK):
            yield from self._read(first)
        yield from self._open

    def _read(self, first: int) -> list[Seen]:
        """The chunk that begins with a frame; empty where it is not finished."""
        path = self._path(first)
        return _read_chunk(path) if path.is_file() else []

    def _path(self, first: int) -> Path:
        return self._folder / f"{first}.npz"


def _write_chunk(path: Path, chunk: list[Seen]) -> None:
    faces = [seen.face for seen in chunk if seen.face is not None]
    write_arrays(
        path,
        has_face=np.array([seen.face is not None for seen in chunk]),
        landmarks=np.array([face.landmarks for face in faces], np.float32),
        coefficients=np.array([face.coefficients for face in faces], np.float32),
        sharpness=np.array([seen.sharpness for seen in chunk]),
        reasons=np.array([seen.reason for seen in chunk]),
        thumbnails=np.array([seen.thumbnail for seen in chunk]),
        chips=np.array([seen.chip for seen in chunk]),
    )


def _read_chunk(path: Path) -> list[Seen]:
    with np.load(path, allow_pickle=False) as chunk:
        faces = iter(map(Face, chunk["landmarks"], chunk["coefficients"]))
        names = ("has_face", "sharpness", "reasons", "thumbnails", "chips")
        rows = zip(*(chunk[name] for name in names), strict=True)
        return [
            Seen(next(faces) if has else None, float(sharp), str(why), thumbnail, chip)
            for has, sharp, why, thumbnail, chip in rows
        ]
