"""benchmarks/results.py: one real run of seconds; everything else with scripts that stand in."""

import json
import os
import shlex
import signal
import statistics
import threading

import cv2
import pytest

from arguments import parse_train_args
from benchmarks import result_runs, results
from benchmarks.result_table import cell
from fleets import engine
from tests.fleets.stand_in import calls, wait_for, write_scripts
from tests.synthetic import edited_json, write_clip

TINY = "--is_debug --iterations 10 -r 32 --max_frames 12 --val_frames 3 --initial_gaussians 50"


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip")


def mean_psnr(folder):
    """The mean over the pairs of pictures in a folder, by OpenCV."""
    names = [path.name for path in (folder / "renders").iterdir()]
    pairs = [[cv2.imread(str(folder / kind / name)) for kind in ("renders", "gt")] for name in names]
    return statistics.fmean(cv2.PSNR(image, truth) for image, truth in pairs)


def test_a_row_is_trained_rendered_and_scored_once(tmp_path, capsys):
    clip = write_clip(tmp_path / "clip", num_frames=12)
    arguments = ["--clips", str(clip), "--only", "head", "--seeds", "3", "--out", str(tmp_path / "out")]
    arguments += ["--device", "cpu", "--train_flags", TINY]
    assert results.main(arguments) == 0
    folder = tmp_path / "out" / "main"
    (run,) = json.loads((folder / "results.json").read_text())["runs"]
    assert (run["clip"], run["row"], run["seed"]) == ("clip", "head", 3)
    written = folder / "clip" / "head" / "seed_3"
    assert run["psnr"] == pytest.approx(mean_psnr(written / "test" / "ours_10"), rel=1e-5)
    views = json.loads((written / "test" / "ours_10" / "metrics.json").read_text())["scores"]["per_view"]
    assert run["head_psnr"] == pytest.approx(statistics.fmean(view["head_psnr"] for view in views))
    seconds = json.loads((written / "eval" / "curves.json").read_text())["evaluations"][-1]["seconds"]
    assert run["minutes"] == seconds / 60 > 0
    first = capsys.readouterr()
    assert "[1/1] clip head seed 3: PSNR" in first.err
    assert (folder / "results.md").read_text().strip() in first.out

    assert results.main(arguments) == 0
    assert "1 runs, 1 of them complete" in capsys.readouterr().out


@pytest.fixture
def run(clip, monkeypatch):
    """Runs a table on `clip` with scripts that stand in; gives the exit code."""
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_LOOKS", 0.02)
    monkeypatch.setattr(result_runs, "ROOT", write_scripts(clip.parent / "scripts"))

    def main(*arguments):
        where = ["--clips", str(clip), "--out", str(clip.parent / "out"), "--device", "cpu"]
        return results.main([*where, *arguments])

    return main


def scripts_of(lines):
    return [line.split()[0] for line in lines]


def load(clip, table="main"):
    return json.loads((clip.parent / "out" / table / "results.json").read_text())


def test_mean_and_spread_are_over_the_seeds(clip, run, capsys):
    assert run("--only", "head", "--seeds", "0", "1", "2", "--jobs", "3") == 0
    assert scripts_of(calls(clip.parent)).count("metrics.py") == 3
    text = capsys.readouterr().out
    assert "22.50 ± 1.00 / 0.9100 ± 0.0000" in text and "1.5 ± 0.0" in text
    assert [entry["psnr"] for entry in load(clip)["runs"]] == [21.5, 22.5, 23.5]


def test_a_run_that_failed_is_named_the_others_go_on_and_it_is_taken_up_again(clip, run, capsys):
    (clip.parent / "failing").write_text("seed_1 --skip_train")
    assert run("--only", "head", "--seeds", "0", "1") == 1
    assert "clip head seed 1: FAILED, render.py ended with 1: error: it broke" in capsys.readouterr().err
    assert [entry["seed"] for entry in load(clip)["runs"]] == [0]

    (clip.parent / "failing").unlink()
    before = len(calls(clip.parent))
    assert run("--only", "head", "--seeds", "0", "1") == 0
    # What was trained stays.
    assert scripts_of(calls(clip.parent)[before:]) == ["render.py", "metrics.py"]
    assert [entry["seed"] for entry in load(clip)["runs"]] == [0, 1]


def test_an_interrupted_run_goes_on(clip, run, capsys):
    def interrupt():
        wait_for((clip.parent / "out/main/clip/head/seed_7/checkpoints/iteration_5.safetensors").exists)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    handler = signal.getsignal(signal.SIGINT)
    assert run("--only", "head", "--seeds", "7", "1") == 130
    assert signal.getsignal(signal.SIGINT) is handler
    assert "the same command goes on from here" in capsys.readouterr().err
    assert len(calls(clip.parent)) == 1
    assert run("--only", "head", "--seeds", "7", "1") == 0
    assert "seed_7 --resume" in calls(clip.parent)[1]
    assert [entry["seed"] for entry in load(clip)["runs"]] == [7, 1]


def test_as_many_runs_at_a_time_as_jobs_on_all_gpus_in_turn(run, monkeypatch):
    used = []
    monkeypatch.setattr(results, "find_devices", lambda name, jobs: ["cuda:0", "cuda:1"] * jobs)
    monkeypatch.setattr(results, "LocalEngine", lambda plans, devices: used.append(devices) or Idle())
    run("--jobs", "3")
    assert used == [["cuda:0", "cuda:1", "cuda:0"]]


class Idle:
    """An engine that has nothing to do."""

    def start(self):
        pass

    def is_running(self):
        return False


def test_other_flags_begin_a_run_anew_and_other_scores_only_score(clip, run):
    flags = ["--only", "head", "--seeds", "0", "--train_flags"]
    run(*flags, "--iterations 7")
    before = len(calls(clip.parent))
    run(*flags, "--iterations 8")
    first, *others = calls(clip.parent)[before:]
    assert "--iterations 8" in first and "--overwrite" in first
    assert scripts_of(others) == ["render.py", "metrics.py"]
    before = len(calls(clip.parent))
    run(*flags, "--iterations 8", "--metrics_flags", "--lpips_weights some")
    assert scripts_of(calls(clip.parent)[before:]) == ["metrics.py"]


def test_rows_that_the_data_do_not_allow_are_left_out_with_a_line(clip, run, capsys):
    run("--only", "tracked", "whole", "--seeds", "0")
    assert "clip tracked: left out, the data have no torso_transform" in capsys.readouterr().err
    assert [entry["row"] for entry in load(clip)["runs"]] == ["whole"]
    with edited_json(clip) as document:
        document["frames"][0]["torso_transform"] = []
    run("--only", "tracked", "whole", "--seeds", "0")
    assert [entry["row"] for entry in load(clip)["runs"]] == ["tracked", "whole"]


def test_ablations_are_scored_on_validation_frames(clip, run):
    run("--table", "ablation", "--only", "derivations_2", "--seeds", "0", "--test_frames", "4")
    train, _, metrics = calls(clip.parent)
    assert "--num_derivations 2" in train and "--only_head" in train and "--test_frames 4" in train
    assert "--set val" in metrics
    assert load(clip, "ablation")["set"] == "val"


@pytest.mark.parametrize(
    ("table", "row"), [(name, row) for name, table in results.TABLES.items() for row in table.rows]
)
def test_every_row_is_a_command_that_train_py_takes(clip, tmp_path, table, row):
    flags = f"{results.TABLES[table].flags} {results.TABLES[table].rows[row]}"
    parse_train_args(["-s", str(clip), "-m", str(tmp_path / "new"), *shlex.split(flags)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "haed"], "--only haed: table main has the rows head, whole"),
        (["--test_frames", "1", "2"], "--test_frames: expected a number for each"),
        (["--jobs", "0"], "--jobs 0: must be at least 1"),
        (["--clips", "nowhere"], "--clips nowhere: no clip there"),
        (["--seeds", "1", "2", "1"], "--seeds 1: named twice"),
        (["--only", "head", "head"], "--only head: named twice"),
        (["--train_flags=--iteratoins 3"], "--train_flags, row head: --iteratoins: no such option"),
        (["--train_flags=--help"], "--train_flags, row head: --help makes no avatar"),
        (["--train_flags=--preset 'best"], "--train_flags: No closing quotation"),
        (["--metrics_flags='"], "--metrics_flags: No closing quotation"),
        (["--device", "tpu"], "--device tpu: expected auto, cpu, cuda or cuda:N"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(run, arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        run(*arguments)
    assert error.value.code == 2
    output = capsys.readouterr()
    assert message in output.err and output.err.count("\n") == 1 and not output.out


def test_a_cell_leaves_out_what_is_not_defined_and_has_no_spread_for_one_seed():
    names = (("a", 1), ("b", 2))
    seeds = [{"a": 1.0, "b": None}, {"a": 2.0}]
    assert cell(seeds[:1], names, 10) == "10.0 / -"
    assert cell(seeds, names, 1) == f"1.5 ± {statistics.stdev([1, 2]):.1f} / -"
