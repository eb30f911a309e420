import json
import sys

import pytest

import demo
from arguments import parse_train_args

STUB = """
import json, pathlib, sys
folder = pathlib.Path("output/demo")
with open("calls.txt", "a") as calls:
    calls.write(" ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
if "--skip_train" in sys.argv:
    for iteration, psnr in ((100, 20.0), (1800, 27.125)):
        views = folder / "test" / f"ours_{iteration}"
        views.mkdir(parents=True)
        mean = {"psnr": psnr, "ssim": 0.91}
        (views / "metrics.json").write_text(json.dumps({"num_views": 18, "mean": mean}))
        (views / "video.mp4").touch()
sys.exit(STATUS if "--novel_view" in sys.argv else 0)
"""


@pytest.fixture
def run_demo(tmp_path, monkeypatch):
    def run(*arguments: str, status: int = 0) -> int:
        for name in ("train.py", "render.py"):
            (tmp_path / name).write_text(STUB.replace("STATUS", str(status)))
        monkeypatch.setattr(demo, "ROOT", tmp_path)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["demo.py", *arguments])
        return demo.main()

    return run


def test_trains_then_renders_held_out_frames_then_a_swing(run_demo, tmp_path):
    assert run_demo("--minutes", "4", "--device", "cpu") == 0
    train, *render = (tmp_path / "calls.txt").read_text().splitlines()
    # These two at the same time.
    render.sort(key=lambda line: "--novel_view" in line)
    assert train.startswith("train.py -s data/demo -m output/demo --eval -w --preset quick --max_minutes")
    # So that it can be run again.
    assert "--overwrite" in train
    assert render == [
        "render.py -m output/demo --skip_train --quiet --device cpu",
        "render.py -m output/demo --novel_view --device cpu",
    ]


def test_prints_commands_and_scores_and_places_of_the_newest_results(run_demo, capfd):
    run_demo()
    printed = capfd.readouterr().out
    assert "$ python render.py -m output/demo --skip_train --quiet --device auto" in printed
    assert "On the 18 frames kept out of training: PSNR 27.12 dB, SSIM 0.9100" in printed
    assert "output/demo/test/ours_1800/video.mp4" in printed
    assert "ours_100/" not in printed


def test_stops_with_the_exit_code_of_the_script_that_failed(run_demo, capfd):
    assert run_demo(status=2) == 2
    captured = capfd.readouterr()
    assert captured.err == "error: the demo stopped, render.py ended with exit code 2\n"
    assert "Done" not in captured.out


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "soon"])
def test_time_that_is_no_time_is_refused(run_demo, minutes, capfd):
    with pytest.raises(SystemExit) as exit:
        run_demo("--minutes", minutes)
    assert exit.value.code == 2
    assert "--minutes" in capfd.readouterr().err


def test_train_accepts_the_command_line(run_demo, tmp_path, monkeypatch):
    run_demo("--minutes", "4")
    arguments = (tmp_path / "calls.txt").read_text().splitlines()[0].split()[1:]
    (tmp_path / "data/demo").mkdir(parents=True)
    (tmp_path / "data/demo/transforms.json").write_text(json.dumps({}))
    config = parse_train_args(arguments)
    assert 2 < config.run.max_minutes < 4
    assert config.run.preset == "quick"
    assert config.model.eval


def test_a_short_demo_still_trains(run_demo, tmp_path):
    run_demo("--minutes", "0.5")
    assert " --max_minutes 0.2 " in (tmp_path / "calls.txt").read_text()
