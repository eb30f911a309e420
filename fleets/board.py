"""How a fleet stands: a table that redraws itself on a terminal, a line for each event elsewhere.

All of it is read from the rows' state files and logs, so it shows rows that work on other machines as well.
"""

import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from fleets.results import score_text
from fleets.stages import Plan
from fleets.state import FAILED, RUNNING, Outlook, outlook
from fleets.work import tail

# Rows of the table; there may be thousands of people.
MOST_SHOWN = 20
WIDEST_NAME = 44
LINE_INTERVAL_SECONDS = 60.0
_TIME_LEFT = re.compile(r"<((?:\d+:)?\d+:\d\d)")


class Board:
    """Shows rows; `update` looks at those that are not over.

    score: what to say of a row that is done.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        *,
        score: Callable[[Plan], str] = score_text,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._quiet, self._clock, self._score = quiet, clock, score
        self._started = self._told_at = clock()
        self._states: dict[str, Outlook] = {plan.name: outlook(plan) for plan in plans}
        self._plans = {plan.name: plan for plan in plans}
        self._ended = {name: "" for name, state in self._states.items() if state.is_over}
        self._num_before, self._num_drawn = len(self._ended), 0
        self._name_width = min(WIDEST_NAME, max([20, *map(len, self._plans)]))

    def update(self) -> bool:
        """Look at all rows that are not over, and show what is new; whether some have ended."""
        num_before = len(self._ended)
        for name, plan in self._plans.items():
            if name in self._ended:
                continue
            before, state = self._states[name], outlook(plan)
            self._states[name] = state
            if state.is_over:
                self._ended[name] = self._outcome(plan, state)
                self._tell(f"[{len(self._ended)}/{len(self._plans)}] {name}: {self._ended[name]}")
            elif (state.stage, state.status) != (before.stage, before.status) and state.status == RUNNING:
                self._tell(f"{name}: {state.stage}")
        if self._stream.isatty() and not self._quiet:
            self._draw()
        elif self._clock() - self._told_at >= LINE_INTERVAL_SECONDS:
            self._told_at = self._clock()
            self._tell(self.summary())
        return len(self._ended) > num_before

    def summary(self) -> str:
        """Counts, and the time left once a row has ended."""
        states = self._states.values()
        num_failed = sum(state.status == FAILED for state in states)
        num_running = sum(state.status == RUNNING and not state.is_over for state in states)
        num_waiting = len(states) - len(self._ended) - num_running
        text = f"{len(self._ended) - num_failed} done, {num_failed} failed, {num_running} running, "
        return f"{text}{num_waiting} waiting{self._time_left()}"

    def _time_left(self) -> str:
        num_new, num_left = len(self._ended) - self._num_before, len(self._plans) - len(self._ended)
        if not num_new or not num_left:
            return ""
        # Rows that end at a time count as one after the other; the rest goes at the same rate.
        seconds = (self._clock() - self._started) / num_new * num_left
        return f", about {_span(seconds)} left"

    def _outcome(self, plan: Plan, state: Outlook) -> str:
        if state.status == FAILED:
            return f"FAILED, {state.line} ({plan.log})"
        return f"{self._score(plan)} after {_span(state.seconds)}"

    def _tell(self, line: str) -> None:
        if not self._quiet and not self._stream.isatty():
            print(line, file=self._stream, flush=True)

    def _draw(self) -> None:
        """Draw over the table of before."""
        size = shutil.get_terminal_size()
        running = [name for name, state in self._states.items() if state.status == RUNNING]
        running = [name for name in running if name not in self._ended]
        ended = [name for name, text in self._ended.items() if text]
        most = max(2, min(MOST_SHOWN, size.lines - 3))
        rows = [(name, self._states[name].stage, _left_of(self._plans[name]), "") for name in running[:most]]
        num_ended = most - len(rows)
        rows += [(name, "", "", self._ended[name]) for name in (ended[-num_ended:] if num_ended else [])]
        head = ("name", "stage", "left", "score")
        table = [*map(self._table_line, (head, *rows)), self.summary()]
        up = f"\x1b[{self._num_drawn}A" if self._num_drawn else ""
        lines = "".join(f"\x1b[2K{line[: size.columns - 1]}\n" for line in table)
        self._stream.write(f"{up}{lines}\x1b[J")
        self._stream.flush()
        self._num_drawn = len(table)

    def _table_line(self, row: tuple[str, str, str, str]) -> str:
        width = self._name_width
        return f"{row[0][:width]:{width}} {row[1]:8} {row[2]:>8}  {row[3]}"


def _left_of(plan: Plan) -> str:
    """The time left that the script's own progress tells."""
    lines = tail(plan.log)
    found = _TIME_LEFT.findall(lines[-1]) if lines else []
    return found[-1] if found else ""


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
