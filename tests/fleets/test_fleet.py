"""fleet.py from a table to fleet.html, with scripts that stand in for the stages; one row with real ones."""

import base64
import csv
import json
import os
import re
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import fleet
from fleets import engine
from tests.fleets.stand_in import calls, start_in_background, state, wait_for, write_scripts, write_table
from tests.synthetic import write_clip

ROOT = Path(fleet.__file__).parent
TINY = "--is_debug --iterations 10 -r 32 --max_frames 12 --initial_gaussians 50"
STAGES = ("train", "render", "score", "export")


@pytest.fixture
def run_fleet(tmp_path, monkeypatch):
    """Runs a table with stand-ins on the CPU; gives the exit code."""
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_LOOKS", 0.02)
    scripts = write_scripts(tmp_path / "scripts")

    def run(text: str, *more: str) -> int:
        table = write_table(tmp_path / "people.csv", text)
        return fleet.main([str(table), "-o", str(tmp_path / "out"), "--device", "cpu", *more], scripts)

    return run


def rows_of(out):
    with (out / "fleet.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_a_video_goes_through_all_scripts_in_order(run_fleet, tmp_path):
    (tmp_path / "film.mp4").touch()
    text = f"name,source,iterations,prepare_options\na,{tmp_path / 'film.mp4'},50,--no-torso\n"
    assert run_fleet(text) == 0
    row = tmp_path / "out" / "people" / "a"
    assert calls(tmp_path) == [
        f"prepare.py {tmp_path / 'film.mp4'} {row / 'data'} --no-torso --overwrite",
        f"train.py -s {row / 'data'} -m {row / 'run'} --eval --iterations 50 --overwrite --device cpu",
        f"render.py -m {row / 'run'} --skip_train --device cpu",
        f"metrics.py -m {row / 'run'} --set test --device cpu",
        f"export.py -m {row / 'run'} --device cpu",
    ]
    found = rows_of(tmp_path / "out")["a"]
    # The scores of metrics.py, not those of render.py.
    assert (found["status"], float(found["psnr"]), float(found["head_psnr"])) == ("done", 21.5, 25.0)
    assert found["light"] == str(row / "run" / "light" / "iteration_5.safetensors")


def test_a_row_that_fails_stops_nobody_and_is_tried_again(run_fleet, tmp_path, capfd):
    text = "name,source,seed\nbad,DATA,13\ngood,DATA,1\nlast,DATA,2\n"
    assert run_fleet(text) == 1
    out = tmp_path / "out"
    assert state(out, "bad") == {"train": "failed"}
    assert state(out, "good") == state(out, "last") == dict.fromkeys(STAGES, "done")
    # The last line, not the progress before it.
    line = "train.py ended with 1: error: an unlucky number"
    assert rows_of(out)["bad"]["line"] == line
    assert line in (out / "fleet.html").read_text()
    printed = capfd.readouterr()
    assert "[3/3]" in printed.err and f"bad: FAILED, {line}" in printed.err
    assert "2 of 3 rows done, 1 failed" in printed.out

    before = len(calls(tmp_path))
    assert run_fleet(text) == 1
    # What is done is not done again.
    assert [call.split()[0] for call in calls(tmp_path)[before:]] == ["train.py"]
    # With an option that makes it well it goes all the way.
    assert run_fleet(text.replace("13", "12")) == 0
    names = [call.split()[0] for call in calls(tmp_path)[before + 1 :]]
    assert names == ["train.py", "render.py", "metrics.py", "export.py"]


def test_another_option_does_a_row_anew_from_there(run_fleet, tmp_path):
    run_fleet("name,source,seed\na,DATA,1\nb,DATA,1\n")
    before = len(calls(tmp_path))
    assert run_fleet("name,source,seed\na,DATA,1\nb,DATA,2\n") == 0
    again = calls(tmp_path)[before:]
    assert [call.split()[0] for call in again] == ["train.py", "render.py", "metrics.py", "export.py"]
    assert "--seed 2 --overwrite" in again[0] and "/people/b/" in again[0]


def test_killed_in_the_middle_it_goes_on_without_losing_what_the_script_did(run_fleet, tmp_path):
    text = "name,source,seed\nfirst,DATA,1\nslow,DATA,7\n"
    process = start_in_background(tmp_path, text)
    checkpoint = tmp_path / "out" / "people" / "slow" / "run" / "checkpoints" / "iteration_5.safetensors"
    wait_for(checkpoint.exists)
    process.kill()
    process.communicate()
    assert state(tmp_path / "out", "first") == dict.fromkeys(STAGES, "done")
    assert state(tmp_path / "out", "slow") == {"train": "running"}

    # Its train.py is still there and holds the row; started again, fleet.py waits for it, then goes on.
    before = len(calls(tmp_path))
    process = start_in_background(tmp_path, text)
    time.sleep(4)
    assert process.poll() is None and len(calls(tmp_path)) == before
    (tmp_path / "go").touch()
    process.communicate(timeout=60)
    assert process.returncode == 0
    row = tmp_path / "out" / "people" / "slow"
    assert calls(tmp_path)[before:][:2] == [
        f"train.py -m {row / 'run'} --resume --device cpu",
        f"render.py -m {row / 'run'} --skip_train --device cpu",
    ]
    assert state(tmp_path / "out", "slow") == dict.fromkeys(STAGES, "done")


def test_a_signal_ends_the_scripts_and_the_same_command_goes_on(run_fleet, tmp_path):
    text = "name,source,seed\nslow,DATA,7\nnext,DATA,1\n"
    process = start_in_background(tmp_path, text)
    wait_for((tmp_path / "out/people/slow/run/checkpoints/iteration_5.safetensors").exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in errors
    assert rows_of(tmp_path / "out")["next"]["status"] == "unfinished"
    assert len(calls(tmp_path)) == 1
    assert run_fleet(text) == 0
    assert "slow/run --resume" in calls(tmp_path)[1]


def test_a_wrong_table_starts_nothing(run_fleet, tmp_path, capfd):
    with pytest.raises(SystemExit) as stop:
        run_fleet("name,source,iteratoins\na,DATA,1\n")
    assert stop.value.code == 2
    errors = capfd.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--engine", "spark"],
        ["--workers", "0"],
        ["--slurm", "a=1"],
        ["--minutes", "3"],
        ["--cpus", "2"],
        ["--device", "cuda:0", "--engine", "ray"],
    ],
)
def test_a_wrong_option_is_one_line(run_fleet, arguments, capfd):
    with pytest.raises(SystemExit) as stop:
        run_fleet("name,source\na,DATA\n", *arguments)
    assert stop.value.code == 2
    assert arguments[0] in capfd.readouterr().err


@pytest.mark.parametrize("stages", [[], {"train": {}}, {"train": "done"}])
def test_a_state_that_others_wrote_is_one_line(run_fleet, tmp_path, capfd, stages):
    path = tmp_path / "out/people/a/state.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"stages": stages}))
    with pytest.raises(SystemExit, match="2"):
        run_fleet("name,source\na,DATA\n")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and "state.json: not as fleet.py writes it; remove" in lines[0]


def test_quiet_prints_the_result_alone(run_fleet, capfd):
    assert run_fleet("name,source\na,DATA\n", "--quiet") == 0
    printed = capfd.readouterr()
    assert printed.err == "" and printed.out.count("\n") == 1


def test_as_many_rows_work_at_a_time_as_there_are_places(run_fleet, tmp_path):
    text = "name,source,seed\na,DATA,7\nb,DATA,7\nc,DATA,7\n"
    process = start_in_background(tmp_path, text, "--workers", "2")
    wait_for(lambda: len(calls(tmp_path)) == 2)
    time.sleep(0.5)
    assert len(calls(tmp_path)) == 2
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_video_is_prepared_while_another_row_trains(run_fleet, tmp_path):
    (tmp_path / "film.mp4").touch()
    text = f"name,source,seed\na,DATA,7\nb,{tmp_path / 'film.mp4'},1\n"
    process = start_in_background(tmp_path, text)
    for script in ("prepare.py", "train.py"):
        wait_for(lambda script=script: any(call.startswith(script) for call in calls(tmp_path)))
    wait_for(lambda: state(tmp_path / "out", "b") == {"prepare": "done"})
    # The one place is taken.
    assert sum(call.startswith("train.py") for call in calls(tmp_path)) == 1
    (tmp_path / "go").touch()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_small_row_with_the_real_scripts(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip", num_frames=12)
    table, out = tmp_path / "people.csv", tmp_path / "out"
    table.write_text(f"name,source,options\n<b,{clip},{TINY}\n".replace("<b", "ball"))
    monkeypatch.chdir(ROOT)
    assert fleet.main([str(table), "-o", str(out), "--device", "cpu"]) == 0
    row = rows_of(out)["ball"]
    views = next((out / "people" / "ball" / "run" / "test").glob("ours_*"))
    names = sorted(path.name for path in (views / "renders").iterdir())
    pairs = [[cv2.imread(str(views / kind / name)) for kind in ("gt", "renders")] for name in names]
    expected = np.mean([cv2.PSNR(*pair) for pair in pairs])
    assert float(row["psnr"]) == pytest.approx(expected, abs=1e-3)
    # No head model, no light form, and no failure of it.
    assert state(out, "ball")["export"] == "left out" and row["light"] == ""

    page = (out / "fleet.html").read_text()
    assert f"{expected:.2f}" in page and "http" not in page
    data = base64.b64decode(re.search(r"data:image/jpeg;base64,([^\"]+)", page)[1])
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    truth = pairs[len(pairs) // 2][0]
    height, width = shown.shape[:2]
    assert width == pytest.approx(2 * height * truth.shape[1] / truth.shape[0], abs=1)
    middle = shown[:, : width // 2].mean((0, 1))
    # JPEG and resizing keep the mean colour of the truth.
    np.testing.assert_allclose(middle, truth.mean((0, 1)), atol=4)
    assert json.loads((out / "people" / "ball" / "state.json").read_text())["stages"]["train"]["seconds"] > 0
    assert os.listdir(out / "people") == ["ball"]
