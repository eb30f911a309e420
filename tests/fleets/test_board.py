"""The live table: what it shows of rows, on a terminal and in a log."""

import io

import pytest

from fleets.board import Board
from fleets.rows import Row
from fleets.stages import plan_of
from fleets.state import DONE, FAILED, RUNNING, record


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """Stands still but for what the test says."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def plans(tmp_path):
    rows = [Row(name, tmp_path, False, (), ()) for name in ("anna", "bert", "carl")]
    return [plan_of(row, tmp_path / row.name) for row in rows]


def finish(plan):
    for stage in plan.stages:
        record(plan, stage, DONE, seconds=5.0)


def test_a_log_has_a_line_for_each_event_and_the_time_left(plans):
    stream, clock = io.StringIO(), Clock()
    board = Board(plans, stream=stream, clock=clock)
    record(plans[0], plans[0].stages[0], RUNNING)
    board.update()
    board.update()
    clock.now = 30.0
    finish(plans[0])
    record(plans[1], plans[1].stages[0], FAILED, line="train.py ended with 2: error: no", seconds=1.0)
    board.update()
    clock.now = 61.0
    board.update()
    lines = stream.getvalue().splitlines()
    assert lines == [
        "anna: train",
        "[1/3] anna: done after 20 s",
        f"[2/3] bert: FAILED, train.py ended with 2: error: no ({plans[1].log})",
        # Two rows in 61 s leave half as long for one.
        "1 done, 1 failed, 0 running, 1 waiting, about 30 s left",
    ]


def test_a_terminal_has_a_table_over_that_of_before(plans):
    stream = Terminal()
    board = Board(plans, stream=stream)
    record(plans[0], plans[0].stages[0], RUNNING)
    plans[0].log.write_text(
        "$ python train.py\ntraining: 50/100 [00:10<00:12, 5it/s]\rtraining: 60/100 [00:12<00:08]"
    )
    board.update()
    first = stream.getvalue()
    row = next(line for line in first.splitlines() if "anna" in line)
    # The last state of the bar.
    assert row.split()[1:] == ["train", "00:08"]
    assert "0 done, 0 failed, 1 running, 2 waiting" in first
    board.update()
    # Up by the lines of the first table: its head, a row, the counts.
    assert stream.getvalue()[len(first) :].startswith("\x1b[3A")


def test_names_that_differ_at_their_end_are_told_apart(tmp_path):
    names = [f"obama no_blendshapes_derivations_1 seed {seed}" for seed in range(2)]
    plans = [plan_of(Row(name, tmp_path, False, (), ()), tmp_path / name) for name in names]
    stream = Terminal()
    board = Board(plans, stream=stream)
    for plan in plans:
        record(plan, plan.stages[0], RUNNING)
    board.update()
    assert all(f"{name} train" in stream.getvalue() for name in names)


def test_a_score_is_told_by_who_asks_and_an_end_only_once(plans):
    stream = io.StringIO()
    board = Board(plans, stream=stream, score=lambda plan: f"score of {plan.name}")
    finish(plans[0])
    assert [board.update(), board.update()] == [True, False]
    assert stream.getvalue() == "[1/3] anna: score of anna after 20 s\n"


def test_quiet_shows_nothing(plans):
    for stream in (io.StringIO(), Terminal()):
        board = Board(plans, quiet=True, stream=stream)
        finish(plans[0])
        board.update()
        assert stream.getvalue() == ""
