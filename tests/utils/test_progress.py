import io
import re

import pytest

from utils.progress import Progress, track


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class _Clock:
    """Stands in for time.time in tqdm: shows what a test sets."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


def test_a_log_gets_plain_lines_with_values_the_first_and_the_last_state(clock):
    log = io.StringIO()
    with Progress(1000, "training", stream=log, log_interval=60) as progress:
        for step in range(1000):
            clock.seconds += 1 / 32
            progress.update(loss=0.123456, gaussians=5000 + step)
    assert "\r" not in log.getvalue()
    assert log.getvalue().splitlines() == [
        "training: 0/1000 [00:00<?, ?it/s]",
        "training: 1000/1000 [00:31<00:00, 32.00it/s, loss=0.1235, gaussians=5999]",
    ]


def test_a_log_gets_a_line_for_every_interval_also_when_steps_become_slow(clock):
    log, steps = io.StringIO(), [1] * 40 + [25] * 3
    with Progress(len(steps), "training", stream=log, log_interval=10) as progress:
        for seconds in steps:
            clock.seconds += seconds
            progress.update()
    counts = [int(count) for count in re.findall(r"training: (\d+)/43", log.getvalue())]
    assert counts == [0, 10, 20, 30, 40, 41, 42, 43]


def test_a_log_tells_the_time_left(clock):
    log = io.StringIO()
    with Progress(100, "training", stream=log, log_interval=10) as progress:
        for _ in range(25):
            clock.seconds += 2
            progress.update()
        assert log.getvalue().splitlines()[-1] == "training: 25/100 [00:50<02:30,  2.00s/it]"


def test_a_bar_inside_another_one_leaves_no_escape_codes_in_a_log():
    log = io.StringIO()
    with Progress(2, "training", stream=log, log_interval=0) as outer:
        outer.update()
        with Progress(1, "evaluating", stream=log, log_interval=0) as inner:
            inner.update()
        outer.update()
    assert "\x1b" not in log.getvalue() and "" not in log.getvalue().splitlines()
    assert "evaluating: 1/1" in log.getvalue()


def test_a_terminal_gets_one_redrawn_line():
    terminal = _Terminal()
    with Progress(10, "training", stream=terminal) as progress:
        progress.update(10, psnr=27.5)
    assert terminal.getvalue().startswith("\r")
    assert "psnr=27.5" in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 1


def test_quiet_prints_nothing():
    log = io.StringIO()
    with Progress(10, "training", quiet=True, stream=log) as progress:
        progress.update(10, loss=1.0)
        progress.write("hello")
    assert log.getvalue() == ""


def test_messages_are_lines_of_their_own():
    log = io.StringIO()
    with Progress(10, "training", stream=log) as progress:
        progress.write("saved")
        progress.update(10)
    assert "saved" in log.getvalue().splitlines()


def test_a_resumed_run_counts_on():
    log = io.StringIO()
    with Progress(10, "training", stream=log, initial=8) as progress:
        progress.update(2)
    assert log.getvalue().splitlines()[-1].startswith("training: 10/10")


def test_track_yields_every_item(capsys):
    assert list(track(iter("abc"), 3, "frames")) == ["a", "b", "c"]
    assert "frames: 3/3" in capsys.readouterr().err
