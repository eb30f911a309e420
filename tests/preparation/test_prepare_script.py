import subprocess
import sys
from pathlib import Path

import pytest

import prepare as script

SLOW = {"torch", "cv2", "mediapipe", "numpy", "scipy"}
ROOT = Path(__file__).resolve().parents[2]


def test_help_answers_without_what_is_slow_to_import():
    code = f"import sys, prepare\ntry: prepare.main(['--help'])\nfinally: print(set(sys.modules) & {SLOW})"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0
    assert "--torso-only" in said.stdout
    assert said.stdout.splitlines()[-1] == "set()"


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
