"""What a run leaves in its folder, and what it takes away there."""

import json

import numpy as np
import pytest

from arguments import load_config, parse_train_args
from training.evaluation import Evaluation, ViewScores
from training.run_folder import RunFolder


@pytest.fixture
def options(tmp_path):
    (tmp_path / "clip").mkdir()
    return lambda *flags: parse_train_args(
        ["-s", str(tmp_path / "clip"), "-m", str(tmp_path / "run"), "--quiet", *flags]
    )


def evaluation(*psnrs: float) -> Evaluation:
    views = tuple(ViewScores(i, 0.1, psnr, 0.9) for i, psnr in enumerate(psnrs))
    return Evaluation(views, np.zeros((4, 5, 3), np.uint8))


def test_options_are_stored_and_lines_logged_without_a_word_on_a_quiet_screen(options, tmp_path, capsys):
    folder = RunFolder(options("--seed", "5"))
    folder.log("a line with ü")
    folder.close()
    assert load_config(tmp_path / "run" / "config.json").run.seed == 5
    assert (tmp_path / "run" / "train.log").read_text(encoding="utf-8").endswith(" a line with ü\n")
    assert capsys.readouterr().err == ""


def test_scores_of_held_out_frames_go_into_the_familys_files_and_all_into_the_curves(options, tmp_path):
    folder, run = RunFolder(options()), tmp_path / "run"
    folder.record_step(10, 1.5, loss=0.3, psnr=20.0, num_gaussians=7)
    folder.record_evaluation("test", 10, 2.0, evaluation(20.0, 30.0))
    folder.record_evaluation("val", 10, 2.0, evaluation(40.0))
    folder.save_curves()
    assert not (tmp_path / "run" / "eval" / "curves.png").exists()
    folder.draw_curves()
    folder.close()
    results = json.loads((run / "results.json").read_text())
    assert results == {"ours_10": {"L1": pytest.approx(0.1), "PSNR": 25.0, "SSIM": pytest.approx(0.9)}}
    per_view = json.loads((run / "per_view.json").read_text())["ours_10"]
    assert [view["psnr"] for view in per_view] == [20.0, 30.0]
    curves = json.loads((run / "eval" / "curves.json").read_text())
    assert curves["steps"] == [dict(iteration=10, seconds=1.5, loss=0.3, psnr=20.0, num_gaussians=7)]
    assert [(e["set"], e["psnr"]) for e in curves["evaluations"]] == [("test", 25.0), ("val", 40.0)]
    assert {path.name for path in (run / "eval").iterdir()} >= {"test_10.png", "val_10.png", "curves.png"}


def test_a_resumed_run_takes_up_the_curves_up_to_its_iteration(options, tmp_path):
    folder = RunFolder(options())
    for iteration in (10, 20, 30):
        folder.record_step(iteration, 1.0, loss=0.1, psnr=1.0, num_gaussians=1)
    folder.save_curves()
    folder.close()
    again = RunFolder(parse_train_args(["-m", str(tmp_path / "run"), "--resume"]))
    again.continue_curves(20)
    again.save_curves()
    again.close()
    curves = json.loads((tmp_path / "run" / "eval" / "curves.json").read_text())
    assert [point["iteration"] for point in curves["steps"]] == [10, 20]


def test_overwriting_removes_what_runs_leave_and_nothing_else(options, tmp_path):
    run = tmp_path / "run"
    mine = ("notes/mine.txt", "test/notes.txt", "spoken_a/ours_to_keep/b.txt")
    # What a light form or a film shows is the avatar that goes.
    of_runs = ["model/iteration_3.safetensors", "light/iteration_3.safetensors"]
    sets = ("test", "test_tracked", "spoken_a", "reenacted_by_b", "driven_by_c", "novel_view_d", "expression")
    of_runs += [f"{name}/{form}_3/renders/00000.png" for name in sets for form in ("ours", "light")]
    for name in (*mine, *of_runs):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    (run / "train.log").write_text("old\n")
    RunFolder(options("--overwrite")).close()
    left = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert left == {".lock", "config.json", "train.log", *mine}
    assert {path.name for path in run.iterdir() if path.is_dir()} == {"notes", "test", "spoken_a"}
    assert (run / "train.log").read_text() == ""


def test_what_a_killed_run_left_half_written_is_removed(options, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for name in (".iteration_9.77.part.safetensors", "iteration_3.safetensors"):
        (folder / name).touch()
    (tmp_path / "run" / ".config.77.part.json").touch()
    config = options("--overwrite")
    object.__setattr__(config.run, "overwrite", False)
    RunFolder(config).close()
    assert [path.name for path in folder.iterdir()] == ["iteration_3.safetensors"]
    assert not list((tmp_path / "run").glob(".config*"))
