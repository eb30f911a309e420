import subprocess
import sys
import time
from pathlib import Path

import pytest

import prepare as script

ROOT = Path(__file__).resolve().parents[2]


def test_help_answers_at_once():
    started = time.monotonic()
    said = subprocess.run([sys.executable, "prepare.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0
    assert "--torso-only" in said.stdout
    assert time.monotonic() - started < 2  # importing torch or mediapipe alone takes longer on a busy machine


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["video.mp4"],
        ["video.mp4", "out", "--fps", "0"],
        ["video.mp4", "out", "--size", "10"],
        ["video.mp4", "out", "--start", "x"],
        ["video.mp4", "out", "--from", "nerface"],
        ["video.mp4", "out", "--extra_expressions", "gaze"],
        ["video.mp4", "out", "--torso-only", "data"],
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1


def test_a_missing_video_is_named_before_any_model_is_fetched(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GAUSSIANHEAD_MODELS", str(tmp_path / "none"))
    with pytest.raises(SystemExit) as stopped:
        script.main([str(tmp_path / "video.mp4"), str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "video.mp4: no such file" in capsys.readouterr().err


def test_times_are_seconds_or_minutes_and_seconds():
    options = script.parse_arguments(["video.mp4", "out", "--start", "1:02.5", "--end", "90"])
    assert (options.start, options.end) == (62.5, 90)
