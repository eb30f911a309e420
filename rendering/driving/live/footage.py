"""A performer before a camera, or in a video file that plays over and over.

One thread takes pictures, in real time; another one follows the face in the newest of them. Where that takes
longer than a picture lasts, pictures are left out: nothing waits in line.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from rendering.driving.live.frame import LiveFrame, Reading
from utils.errors import UserError

# Frames a second of files that do not say.
_USUAL_RATE = 25.0
_LARGEST_RATE = 240.0
# Seconds.
_NAP = 0.2
# So many failures in a row, and a camera is gone.
_MOST_FAILURES = 25
# Longer sides are halved until they are shorter: the tracker looks at 256 pixels.
_LARGEST_SIDE = 1280


class Follower(Protocol):
    """Follows a face from picture to picture; used by one thread."""

    def find(self, frame: np.ndarray, milliseconds: int) -> tuple[dict[str, float], np.ndarray] | None:
        """Coefficients and rotation, as in a `Reading`, of the face in a picture [H, W, 3] uint8 RGB; None
        where none is seen. Times rise."""

    def close(self) -> None: ...


class _Picture(NamedTuple):
    pixels: np.ndarray  # [H, W, 3] uint8 BGR
    # By time.perf_counter().
    captured: float
    received: float


class Footage:
    """A camera or a file, opened."""

    def __init__(self, source: int | Path, follower: Follower) -> None:
        """A camera's number or a file, and what follows the face in it. Raises UserError."""
        self._is_file = isinstance(source, Path)
        self._capture, first = _opened(source)
        self.title = f"video {source.name}" if self._is_file else f"camera {source}"
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1 <= rate <= _LARGEST_RATE else _USUAL_RATE
        self._follower = follower
        # Seconds from picture to picture, as they come: a camera may be slower than it says.
        self._period = 1 / self.rate
        self.num_faceless = self.num_left_out = 0
        self._newest: _Picture | None = _Picture(first, time.perf_counter(), time.perf_counter())
        self._changed = threading.Condition()
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, submit: Callable[[LiveFrame], None], say: Callable[[str], None]) -> None:
        """Hand the face of the newest picture to `submit`, again and again, and what goes wrong to `say`."""
        self._threads = [
            threading.Thread(target=self._take, args=(say,), name="live-camera", daemon=True),
            threading.Thread(target=self._follow, args=(submit,), name="live-tracker", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the threads and let go of the camera."""
        self._is_over.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._capture.release()

    def _take(self, say: Callable[[str], None]) -> None:
        due, failures, last = time.perf_counter(), 0, None
        while not self._is_over.is_set():
            if self._is_file:
                due = max(due + 1 / self.rate, time.perf_counter() - 1)
                if self._is_over.wait(max(0.0, due - time.perf_counter())):
                    break
            asked = time.perf_counter()
            has_picture, pixels = self._capture.read()
            if not has_picture:
                failures += 1
                if failures > _MOST_FAILURES:
                    say(f"{self.title}: no more pictures")
                    break
                if self._is_file:
                    self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                else:
                    self._is_over.wait(_NAP)
                continue
            failures = 0
            received = time.perf_counter()
            # A camera keeps us waiting until there is a picture, a file's is there at once.
            picture = _Picture(pixels, asked if self._is_file else received, received)
            with self._changed:
                self.num_left_out += self._newest is not None
                self._period = min(received - last, 1.0) if last is not None else self._period
                self._newest, last = picture, received
                self._changed.notify_all()

    def _follow(self, submit: Callable[[LiveFrame], None]) -> None:
        last = -1
        while (picture := self._next()) is not None:
            begun = time.perf_counter()
            last = max(last + 1, int(1000 * picture.captured))
            found = self._follower.find(_prepared(picture.pixels), last)
            if found is None:
                self.num_faceless += 1
                continue
            stages = {"capture": begun - picture.captured, "landmarks": time.perf_counter() - begun}
            submit(LiveFrame(Reading(*found), picture.captured, stages))
        self._follower.close()

    def _next(self) -> _Picture | None:
        """The next picture to look at: the newest, or the one after it where that is nearer."""
        with self._changed:
            if self._newest is not None and time.perf_counter() - self._newest.captured > self._period / 2:
                self._newest = None
                self.num_left_out += 1
            self._changed.wait_for(lambda: self._newest is not None or self._is_over.is_set())
            picture, self._newest = self._newest, None
            return None if self._is_over.is_set() else picture


def _opened(source: int | Path) -> tuple[cv2.VideoCapture, np.ndarray]:
    """A capture that gives pictures, and its first one. Raises UserError."""
    if isinstance(source, Path):
        flag, expected = f"--video {source}", "expected a video"
        if not source.is_file():
            raise UserError(f"{flag}: no such file")
    else:
        flag, expected = f"--webcam {source}", "no such camera on this machine, or another program has it"
    # What OpenCV writes of a failure names its own source files.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(str(source) if isinstance(source, Path) else source)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not isinstance(source, Path):
        # Where it can be asked for: a picture that waits in line is late.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    has_picture, pixels = capture.read() if capture.isOpened() else (False, None)
    if not has_picture:
        capture.release()
        raise UserError(f"{flag}: {expected}")
    return capture, pixels


def _prepared(pixels: np.ndarray) -> np.ndarray:
    """RGB, no larger than what is of use."""
    halvings = 0
    while max(pixels.shape[:2]) >> halvings > _LARGEST_SIDE:
        halvings += 1
    if halvings:
        pixels = cv2.resize(pixels, None, fx=0.5**halvings, fy=0.5**halvings, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
