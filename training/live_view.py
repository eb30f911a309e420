"""--viewer: a page that shows the head while it grows, and can hold the run.

Pictures are drawn between two iterations, by the thread that trains: a CUDA graph that is being recorded must
not meet another thread's work.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from scene.avatar import Avatar
from viewing.desk import Desk
from viewing.exhibit import Exhibit
from viewing.server import listen

HOST = "127.0.0.1"
# Of the time, at most, for those who look on; while they hold the run they have all of it.
SHARE = 0.25
# Seconds between two reports to a page.
REPORT_INTERVAL = 0.5


class LiveView:
    """The pages that look on at a run; a context manager that serves them."""

    def __init__(self, name: str, port: int | None, avatar: Avatar, log: Callable[[str], None]) -> None:
        """`avatar` as it starts. Raises UserError where a port that was named is in use."""
        self._server, note = listen(HOST, port)
        self._desk = Desk([Exhibit(name, avatar)])
        self._desk.paused = threading.Event()
        self._stack = ExitStack()
        self._next_round = self._next_report = 0.0
        for line in (note, f"viewer: open {self._server.address} to see the head grow"):
            if line:
                log(line)

    def __enter__(self) -> "LiveView":
        self._stack.enter_context(self._server.serving(self._desk))
        return self

    def __exit__(self, *exception: object) -> None:
        self._desk.announce("training", type="training_over")
        self._stack.close()

    def show(self, avatar: Callable[[], Avatar], is_over: Callable[[], bool], **report: float) -> float:
        """Draw what pages ask for, and wait while one holds the run, until `is_over`; the seconds of that."""
        now = time.perf_counter()
        if not self._desk.num_pages or (now < self._next_round and not self._desk.paused.is_set()):
            return 0.0
        self._desk.exhibits[0].replace_(avatar())
        if now >= self._next_report:
            self._report(**report)
            self._next_report = now + REPORT_INTERVAL
        self._desk.round()
        drawn = time.perf_counter()
        self._next_round = drawn + (drawn - now) * (1 / SHARE - 1)
        return self._held(is_over, report)

    def _held(self, is_over: Callable[[], bool], report: dict[str, float]) -> float:
        start, paused = time.perf_counter(), self._desk.paused
        if not paused.is_set():
            return 0.0
        self._report(**report)
        self._desk.serve_until(lambda: is_over() or not paused.is_set())
        self._report(**report)
        return time.perf_counter() - start

    def _report(self, **report: float) -> None:
        self._desk.announce("training", type="training", paused=self._desk.paused.is_set(), **report)
