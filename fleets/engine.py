"""What engines have in common: `local.py`, `slurm.py` and `ray.py` work on rows, fleet.py only watches.

All of them leave what they do in the rows' state files (`state.py`); from there it is shown and gone on with.
"""

import importlib
import signal
import time
from collections.abc import Callable
from typing import Any, Protocol

from fleets.board import Board
from utils.errors import UserError

SECONDS_BETWEEN_LOOKS = 1.0


class Engine(Protocol):
    """`start` it, then ask `is_running` again and again until it is not."""

    def start(self) -> None: ...

    def is_running(self) -> bool:
        """Whether there is work left."""

    def stop(self) -> None:
        """Be over soon; returns at once, for signal handlers call it."""


def run_engine(engine: Engine, board: Board, tell: Callable[[], object] = lambda: None) -> int:
    """Work on the rows until all are over, shown by `board`; `tell` is called when some have ended.

    Ctrl-C and SIGTERM stop the engine. Returns 0, or 128 and the number of the first such signal.
    """
    interruption = 0

    def stop(number: int, frame: object) -> None:
        nonlocal interruption
        interruption = interruption or 128 + number
        engine.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        engine.start()
        while True:
            # Asked first: what ended before is shown.
            is_running = engine.is_running()
            if board.update():
                tell()
            if not is_running:
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return interruption


def import_extra(name: str, option: str) -> Any:
    """A package that only `option` needs. Raises UserError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{option}: needs {name}; pip install -r requirements-extras.txt") from error
