"""The face in every frame of a video, by several trackers at once, and which frames can be used.

Frames are looked at one by one: MediaPipe's video mode filters its landmarks, with a lag.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import cv2
import numpy as np

from preparation.geometry.landmark_names import LEFT_EYE_CORNER, NOSE_BASE, RIGHT_EYE_CORNER
from preparation.tracking.face_cache import FaceCache, Seen
from preparation.tracking.landmarks import (
    NO_FACE,
    OUTSIDE_FRAME,
    REPEATED,
    TWO_FACES,
    Face,
    FaceTracker,
    LandmarkTrack,
)
from utils.progress import Progress

NUM_WORKERS = 2
# Share of the first face's height: a smaller second one is a poster or a passer-by.
SECOND_FACE = 0.4
# Share of the frame's side: how far a landmark may lie beyond its edge.
OUTSIDE = 0.02
# Sides of the small pictures that tell one shot from another: of the frame, and of the face laid flat.
THUMBNAIL, CHIP = 16, 32
# Where in a chip the outer corners of the eyes and the base of the nose are.
_CHIP_PLACES = np.float32([[8, 12], [24, 12], [16, 22]])
# Frames in memory.
_WAITING = 4 * NUM_WORKERS


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
    seen = FaceCache(cache)
    with (
        ThreadPoolExecutor(NUM_WORKERS) as pool,
        Progress(expected_frames, "tracking the face", quiet=quiet) as progress,
    ):
        for one in _look(frames, made, seen, pool):
            seen.append(one)
            progress.update()
    for tracker in made:
        tracker.close()
    return _assemble(seen, size, made[0].coefficient_names)


def _look(
    frames: Iterator[np.ndarray], trackers: list[FaceTracker], cache: FaceCache, pool: ThreadPoolExecutor
) -> Iterator[Seen]:
    """Yield what is seen in the frames, in order, with only a few frames at once in memory."""
    idle: SimpleQueue[FaceTracker] = SimpleQueue()
    for tracker in trackers:
        idle.put(tracker)

    def look(frame: np.ndarray, is_repeated: bool) -> Seen:
        if is_repeated:
            return _seen(frame, None, 0.0, REPEATED)
        tracker = idle.get()
        try:
            return _judge(frame, tracker.find(frame))
        finally:
            idle.put(tracker)

    waiting: deque[Future[Seen]] = deque()
    previous = None
    for index, frame in enumerate(frames):
        known = cache.known(index)
        if known is None:
            is_repeated = previous is not None and np.array_equal(frame, previous)
            waiting.append(pool.submit(look, frame, is_repeated))
        else:
            waiting.append(_done(known))
        previous = frame
        if len(waiting) >= _WAITING:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _done(seen: Seen) -> Future[Seen]:
    future: Future[Seen] = Future()
    future.set_result(seen)
    return future


def _judge(frame: np.ndarray, faces: list[Face]) -> Seen:
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


def _seen(frame: np.ndarray, face: Face | None, sharpness: float, reason: str) -> Seen:
    gray = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(gray, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    chip = np.zeros((CHIP, CHIP), np.uint8)
    if face is not None and len(face.landmarks) > LEFT_EYE_CORNER:
        size = np.float32([frame.shape[1], frame.shape[0]])
        places = face.landmarks[[RIGHT_EYE_CORNER, LEFT_EYE_CORNER, NOSE_BASE], :2] * size
        flat = cv2.getAffineTransform(places.astype(np.float32), _CHIP_PLACES)
        chip = cv2.warpAffine(gray, flat, (CHIP, CHIP), flags=cv2.INTER_AREA)
    return Seen(face, sharpness, reason, thumbnail, chip)


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


def _assemble(seen: FaceCache, size: tuple[int, int], names: tuple[str, ...]) -> LandmarkTrack:
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
