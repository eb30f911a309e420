import io
import re

from utils.progress import Progress, track


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_sparse_plain_lines_with_values_and_the_last_state():
    log = io.StringIO()
    with Progress(1000, "training", stream=log, log_interval=60) as progress:
        for step in range(1000):
            progress.update(loss=0.123456, gaussians=5000 + step)
    lines = log.getvalue().splitlines()
    assert len(lines) <= 3  # the first state, the last
    assert "\r" not in log.getvalue()
    assert re.fullmatch(r"training: 1000/1000 \[.*<.*it/s, loss=0\.1235, gaussians=5999\]", lines[-1])


def test_a_log_gets_a_line_for_every_interval():
    log = io.StringIO()
    with Progress(5, "training", stream=log, log_interval=0) as progress:
        for _ in range(5):
            progress.update()
    counts = re.findall(r"training: (\d)/5", log.getvalue())
    assert counts == ["0", "1", "2", "3", "4", "5"]


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
