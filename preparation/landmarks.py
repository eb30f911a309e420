"""Faces in every frame: 478 landmarks and the expression coefficients, by whatever finds them.

`FaceTracker` is all that the rest knows of the detector; `mediapipe_models.py` has the one for MediaPipe.
Frames are looked at one by one (MediaPipe's video mode filters its landmarks, with a lag), by several
trackers at once.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from preparation.files import write_arrays
from utils.progress import Progress

NUM_WORKERS = 2
SECOND_FACE = 0.4  # of the height of the first: a smaller one is a poster or a passer-by
OUTSIDE = 0.02  # of the frame's side: how far a landmark may lie beyond its edge
BLURRED = 0.15  # of the clip's median sharpness
_CHUNK = 250  # frames to a file of the cache
_WAITING = 4 * NUM_WORKERS  # frames in memory

# Sides of the small pictures that tell one shot from another: of the frame, and of the face laid flat.
THUMBNAIL, CHIP = 16, 32
# MediaPipe's landmarks at the outer corners of the eyes and the base of the nose, and their places in a chip.
RIGHT_EYE_CORNER, LEFT_EYE_CORNER, NOSE_BASE = 33, 263, 2
_CHIP_PLACES = np.float32([[8, 12], [24, 12], [16, 22]])

NO_FACE, TWO_FACES, OUTSIDE_FRAME = "no face", "two faces", "face leaves the frame"
REPEATED, BLUR = "repeated frame", "blur"


class Face(NamedTuple):
    """One face; landmarks as parts of the frame's sides, z in the unit of x, smaller is nearer."""

    landmarks: np.ndarray  # [P, 3] float32
    coefficients: np.ndarray  # [E] float32


class FaceTracker(Protocol):
    """Finds the faces of a frame; one is used by one thread at a time."""

    coefficient_names: tuple[str, ...]

    def find(self, frame: np.ndarray) -> list[Face]: ...  # [H, W, 3] uint8 RGB

    def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class LandmarkTrack:
    """The faces of a clip. Rows of frames that are in `dropped` hold NaN or must not be used."""

    landmarks: np.ndarray  # [F, P, 3] float32, pixels of the upright video
    coefficients: np.ndarray  # [F, E] float32
    sharpness: np.ndarray  # [F] float32, relative
    coefficient_names: tuple[str, ...]
    dropped: dict[int, str] = field(default_factory=dict)  # frame: reason
    thumbnails: np.ndarray | None = None  # [F, 16, 16] uint8 gray, of the frames
    chips: np.ndarray | None = None  # [F, 32, 32] uint8 gray, of the faces laid flat

    @property
    def num_frames(self) -> int:
        return len(self.landmarks)

    @property
    def kept(self) -> np.ndarray:  # [F] bool
        """Which frames have a usable face."""
        kept = np.ones(self.num_frames, bool)
        kept[list(self.dropped)] = False
        return kept


class _Seen(NamedTuple):
    face: Face | None
    sharpness: float
    reason: str  # why it cannot be used, "" if it can
    thumbnail: np.ndarray
    chip: np.ndarray


def track_faces(
    frames: Iterator[np.ndarray],
    size: tuple[int, int],
    make_tracker: Callable[[], FaceTracker],
    cache: Path,
    expected_frames: int,
    quiet: bool = False,
) -> LandmarkTrack:
    """Find the face in every frame.

    size: width and height, in pixels, that the result's pixels refer to; frames may be smaller. cache: folder
    for finished chunks, read again after an interruption.
    """
    made = [make_tracker() for _ in range(NUM_WORKERS)]
    trackers: SimpleQueue[FaceTracker] = SimpleQueue()
    for tracker in made:
        trackers.put(tracker)

    def look(frame: np.ndarray, is_repeated: bool) -> _Seen:
        if is_repeated:
            return _seen(frame, None, 0.0, REPEATED)
        tracker = trackers.get()
        try:
            return _judge(frame, tracker.find(frame))
        finally:
            trackers.put(tracker)

    seen = _Chunks(cache)
    waiting: deque[Future[_Seen]] = deque()
    previous = None
    with (
        ThreadPoolExecutor(NUM_WORKERS) as pool,
        Progress(expected_frames, "tracking the face", quiet=quiet) as progress,
    ):
        for index, frame in enumerate(frames):
            if index % _CHUNK == 0:
                seen_later = seen.read(index)
            if index % _CHUNK < len(seen_later):
                waiting.append(_done(seen_later[index % _CHUNK]))
            else:
                is_repeated = previous is not None and np.array_equal(frame, previous)
                waiting.append(pool.submit(look, frame, is_repeated))
            previous = frame
            if len(waiting) >= _WAITING:
                seen.append(waiting.popleft().result())
                progress.update()
        while waiting:
            seen.append(waiting.popleft().result())
            progress.update()
    for tracker in made:
        tracker.close()
    return _assemble(seen, size, made[0].coefficient_names)


def drop_blurred(track: LandmarkTrack) -> LandmarkTrack:
    """Drop the frames whose sharpness is far below the median of the clip."""
    if not track.kept.any():
        return track
    median = float(np.median(track.sharpness[track.kept]))
    blurred = np.flatnonzero(track.kept & (track.sharpness < BLURRED * median))
    reasons = {int(i): f"{BLUR} (sharpness {track.sharpness[i] / median:.2f} of the median)" for i in blurred}
    return replace(track, dropped=track.dropped | reasons)


def _judge(frame: np.ndarray, faces: list[Face]) -> _Seen:
    if not faces:
        return _seen(frame, None, 0.0, NO_FACE)
    faces = sorted(faces, key=_height, reverse=True)
    face = faces[0]
    sharpness = _sharpness(frame, face)
    if len(faces) > 1 and _height(faces[1]) > SECOND_FACE * _height(face):
        return _seen(frame, face, sharpness, TWO_FACES)
    xy = face.landmarks[:, :2]
    if (xy < -OUTSIDE).any() or (xy > 1 + OUTSIDE).any():
        return _seen(frame, face, sharpness, OUTSIDE_FRAME)
    return _seen(frame, face, sharpness, "")


def _seen(frame: np.ndarray, face: Face | None, sharpness: float, reason: str) -> _Seen:
    gray = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(gray, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    chip = np.zeros((CHIP, CHIP), np.uint8)
    if face is not None and len(face.landmarks) > LEFT_EYE_CORNER:
        size = np.float32([frame.shape[1], frame.shape[0]])
        places = face.landmarks[[RIGHT_EYE_CORNER, LEFT_EYE_CORNER, NOSE_BASE], :2] * size
        flat = cv2.getAffineTransform(places.astype(np.float32), _CHIP_PLACES)
        chip = cv2.warpAffine(gray, flat, (CHIP, CHIP), flags=cv2.INTER_AREA)
    return _Seen(face, sharpness, reason, thumbnail, chip)


def _height(face: Face) -> float:
    return float(np.ptp(face.landmarks[:, 1]))


def _sharpness(frame: np.ndarray, face: Face) -> float:
    """Energy of the Laplacian over the contrast of the face, brought to 128 x 128 pixels."""
    height, width = frame.shape[:2]
    corners = np.clip([face.landmarks[:, :2].min(0), face.landmarks[:, :2].max(0)], 0, 1) * (width, height)
    (left, top), (right, bottom) = corners.astype(int)
    if right - left < 2 or bottom - top < 2:
        return 0.0
    gray = cv2.cvtColor(np.ascontiguousarray(frame[top:bottom, left:right]), cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var() / (gray.var() + 1))


def _done(seen: _Seen) -> Future[_Seen]:
    future: Future[_Seen] = Future()
    future.set_result(seen)
    return future


class _Chunks:
    """What was seen, by frames: finished chunks in files, where they take no memory, the last one here."""

    def __init__(self, folder: Path) -> None:
        self.num_frames = 0
        self._folder = folder
        self._open: list[_Seen] = []

    def append(self, seen: _Seen) -> None:
        self._open.append(seen)
        self.num_frames += 1
        if len(self._open) == _CHUNK:
            path = self._path(self.num_frames - _CHUNK)
            if not path.exists():
                _write_chunk(path, self._open)
            self._open = []

    def read(self, first: int) -> list[_Seen]:
        """The chunk that begins with a frame; empty where it is not finished."""
        path = self._path(first)
        return _read_chunk(path) if path.is_file() else []

    def __iter__(self) -> Iterator[_Seen]:
        for first in range(0, self.num_frames - len(self._open), _CHUNK):
            yield from self.read(first)
        yield from self._open

    def _path(self, first: int) -> Path:
        return self._folder / f"{first}.npz"


def _write_chunk(path: Path, chunk: list[_Seen]) -> None:
    has_face = np.array([seen.face is not None for seen in chunk])
    faces = [seen.face for seen in chunk if seen.face is not None]
    write_arrays(
        path,
        has_face=has_face,
        landmarks=np.array([face.landmarks for face in faces], np.float32),
        coefficients=np.array([face.coefficients for face in faces], np.float32),
        sharpness=np.array([seen.sharpness for seen in chunk]),
        reasons=np.array([seen.reason for seen in chunk]),
        thumbnails=np.array([seen.thumbnail for seen in chunk]),
        chips=np.array([seen.chip for seen in chunk]),
    )


def _read_chunk(path: Path) -> list[_Seen]:
    with np.load(path, allow_pickle=False) as chunk:
        faces = iter(map(Face, chunk["landmarks"], chunk["coefficients"]))
        names = ("has_face", "sharpness", "reasons", "thumbnails", "chips")
        rows = zip(*(chunk[name] for name in names), strict=True)
        return [
            _Seen(next(faces) if has else None, float(sharp), str(why), thumbnail, chip)
            for has, sharp, why, thumbnail, chip in rows
        ]


def _assemble(seen: _Chunks, size: tuple[int, int], names: tuple[str, ...]) -> LandmarkTrack:
    first = next((one.face for one in seen if one.face is not None), None)
    num_landmarks = len(first.landmarks) if first else 0
    landmarks = np.full((seen.num_frames, num_landmarks, 3), np.nan, np.float32)
    coefficients = np.full((seen.num_frames, len(names)), np.nan, np.float32)
    sharpness = np.empty(seen.num_frames, np.float32)
    thumbnails = np.zeros((seen.num_frames, THUMBNAIL, THUMBNAIL), np.uint8)
    chips = np.zeros((seen.num_frames, CHIP, CHIP), np.uint8)
    dropped = {}
    width, height = size
    for i, one in enumerate(seen):
        sharpness[i], thumbnails[i], chips[i] = one.sharpness, one.thumbnail, one.chip
        if one.reason:
            dropped[i] = one.reason
        if one.face is not None:
            landmarks[i] = one.face.landmarks * np.float32([width, height, width])
            coefficients[i] = one.face.coefficients
    return LandmarkTrack(landmarks, coefficients, sharpness, names, dropped, thumbnails, chips)
