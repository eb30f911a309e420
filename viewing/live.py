"""A face that moves now, for the pages: what the avatar is to do at every moment, and how old that is.

The threads of a source (rendering/driving/live) hand in a performer's face; it becomes the avatar's at once
and goes to every page, which draws it from the light form or asks the server for a picture with the face's
number.
That picture carries its latency: from the moment at which the face was captured to that at which it leaves.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rendering.driving.live.calibration import NONE, LiveFace
from rendering.driving.live.frame import LiveFrame
from viewing.clients import Client

if TYPE_CHECKING:
    from viewing.desk import Desk

# Faces whose time is remembered; pictures of older ones have no latency.
_REMEMBERED = 256
# Seconds: where pictures have been drawn of late, the next face waits so long for the picture of this one.
PICTURES_OF_LATE, LONGEST_WAIT = 1.0, 0.5
# Seconds between two lines on the terminal.
REPORT_EVERY = 10.0
# Milliseconds, by what was done.
Stages = dict[str, float]


class Live:
    """Hands faces to pages and measures. Threads may call its methods as they like."""

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self._face: LiveFace | None = None
        # What a page shows of the source; "": none.
        self.title = ""
        self._say: Callable[[str], None] = lambda line: None
        self._lock = threading.Lock()
        self._drawn = threading.Condition(self._lock)
        self._last_drawn, self._drawn_at = 0, -math.inf
        self._number = 0
        self._times: dict[int, tuple[float, Stages, float]] = {}
        self._faces: deque[Stages] = deque(maxlen=1_000)
        self._pictures: deque[Stages] = deque(maxlen=1_000)
        self._reported = time.perf_counter()
        self._told_state: tuple[str, int] = NONE, 0

    def begin(self, face: LiveFace, title: str, say: Callable[[str], None] = lambda line: None) -> None:
        """Expect a performer's face; `say` hears a line about speed every ten seconds."""
        self._face, self.title, self._say = face, title, say

    def submit_and_wait(self, frame: LiveFrame) -> None:
        """Show a face, and wait for its picture where pages ask for pictures.

        For sources that compute: on few cores, face tracking and drawing at once make both slow.
        """
        number = self.submit(frame)
        with self._lock:
            if time.perf_counter() - self._drawn_at < PICTURES_OF_LATE:
                self._drawn.wait_for(lambda: self._last_drawn >= number, LONGEST_WAIT)

    def submit(self, frame: LiveFrame) -> int:
        """Show a performer's face at one moment, and return its number; called by the source's thread."""
        begun = time.perf_counter()
        driven = self._face.follow(frame)
        done = time.perf_counter()
        stages = {name: 1e3 * seconds for name, seconds in frame.stages.items()}
        stages |= {"retarget": 1e3 * (done - begun), "total": 1e3 * (done - frame.captured)}
        number = self.show(driven.expression, driven.turn, self.title, stages, frame.captured)
        self._tell_state(done)
        self._report(done)
        return number

    def show(
        self,
        expression: dict[str, float],
        turn: np.ndarray | None,
        source: str,
        stages: Stages | None = None,
        captured: float | None = None,
    ) -> int:
        """Send a face to every page; returns its number."""
        with self._lock:
            self._number += 1
            number = self._number
            if captured is not None:
                self._times[number] = captured, stages, time.perf_counter()
                self._times.pop(number - _REMEMBERED, None)
                self._faces.append(stages)
        self._desk.tell_pages(
            "live",
            type="live",
            number=number,
            source=source,
            expression=expression,
            turn=None if turn is None else [round(float(value), 5) for value in turn.flat],
            latency=_rounded(stages or {}),
        )
        return number

    def latency_of(self, number: int | None, stages: dict[str, float], begun: float) -> Stages | None:
        """Milliseconds from a face's capture to now, by what was done; `stages` are seconds of drawing, which
        began at a time. None for faces of which nothing is known."""
        with self._lock:
            if number not in self._times:
                return None
            captured, before, shown = self._times[number]
            # On its way to the page and back, and in line for the thread that draws.
            latency = {name: value for name, value in before.items() if name != "total"}
            latency["asked"] = 1e3 * (begun - shown)
            latency |= {name: 1e3 * seconds for name, seconds in stages.items()}
            latency["total"] = 1e3 * (time.perf_counter() - captured)
            self._pictures.append(latency)
            self._last_drawn, self._drawn_at = max(self._last_drawn, number), time.perf_counter()
            self._drawn.notify_all()
            return _rounded(latency)

    def calibrate(self, client: Client, reset: bool) -> None:
        """Take the face of now as neutral, or forget that; who asked hears where that is not possible."""
        if self._face is None:
            client.tell(type="error", message="nothing to calibrate: no camera and no network source")
        elif reset:
            self._face.reset()
        elif not self._face.calibrate():
            client.tell(type="error", message=f"nothing to calibrate: no face seen yet by {self.title}")
        if self._face is not None:
            self._tell_state(time.perf_counter(), force=True)

    def _tell_state(self, now: float, force: bool = False) -> None:
        """Tell pages how far the calibration is, once for every second of it."""
        state = self._face.state, int(np.ceil(self._face.seconds_left(now)))
        if state != self._told_state or force:
            self._told_state = state
            self._desk.announce("calibration", type="calibration", state=state[0], seconds_left=state[1])

    def _report(self, now: float) -> None:
        """A line for the terminal, now and then."""
        with self._lock:
            elapsed = now - self._reported
            if elapsed < REPORT_EVERY:
                return
            faces, pictures = list(self._faces), list(self._pictures)
            self._faces.clear()
            self._pictures.clear()
            self._reported = now
        line = f"live: {len(faces) / elapsed:.1f} faces/s, {_summary(faces)} to coefficients"
        if pictures:
            line += f"; {len(pictures) / elapsed:.1f} pictures/s, {_summary(pictures)} to pictures"
        self._say(line)


def _summary(stages: list[Stages]) -> str:
    """The median of what was done, in words."""
    if not stages:
        return "nothing"
    medians = {name: float(np.median([each.get(name, 0.0) for each in stages])) for name in stages[-1]}
    total = medians.pop("total")
    return f"{total:.0f} ms ({', '.join(f'{name} {value:.1f}' for name, value in medians.items())})"


def _rounded(stages: Stages) -> dict[str, Any]:
    return {name: round(value, 2) for name, value in stages.items()}
