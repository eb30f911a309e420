"""benchmarks/results.py: one real run of seconds; everything else with commands that only leave files."""

import json
import shlex
import statistics
from pathlib import Path

import cv2
import pytest

from arguments import parse_train_args
from benchmarks import result_runs, results
from benchmarks.result_table import cell
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
    assert "[1/1] clip head seed 3: PSNR" in first.out
    assert (folder / "results.md").read_text().strip() in first.out

    assert results.main(arguments) == 0
    assert "1 runs, 1 of them complete" in capsys.readouterr().out


class Commands:
    """Stands in for processes.run: notes every command and leaves the files that are read afterwards.

    The command that has the words `failing` fails.
    """

    def __init__(self):
        self.seen = []
        self.failing = ""

    def __call__(self, words, stdout, **options):
        words = [str(word) for word in words]
        self.seen.append([Path(words[1]).name, *words[2:]])
        folder = Path(words[words.index("-m") + 1])
        if words[1].endswith("train.py"):
            (folder / "eval").mkdir(parents=True, exist_ok=True)
            (folder / "checkpoints").mkdir(exist_ok=True)
            (folder / "checkpoints" / "iteration_5.safetensors").touch()
            (folder / "eval" / "curves.json").write_text('{"evaluations": [{"seconds": 90}]}')
        if words[1].endswith("metrics.py"):
            seed = int(folder.name.removeprefix("seed_"))
            name = words[words.index("--set") + 1]
            (folder / name / "ours_5").mkdir(parents=True)
            scores = {"mean": {"psnr": 20.0 + seed, "ssim": 0.9, "background_error": None}}
            (folder / name / "ours_5" / "metrics.json").write_text(json.dumps({"scores": scores}))
        if self.failing and self.failing in " ".join(self.seen[-1]):
            stdout.write("error: it broke\n")
            stdout.flush()
            return 2
        return 0

    def scripts(self):
        return [words[0] for words in self.seen]


@pytest.fixture
def commands(monkeypatch):
    commands = Commands()
    monkeypatch.setattr(result_runs.processes, "run", commands)
    return commands


def run(clip, *arguments):
    return results.main(["--clips", str(clip), "--out", str(clip.parent / "out"), *arguments])


def load(clip, table="main"):
    return json.loads((clip.parent / "out" / table / "results.json").read_text())


def test_mean_and_spread_are_over_the_seeds(clip, commands, capsys):
    assert run(clip, "--only", "head", "--seeds", "0", "1", "2", "--jobs", "3") == 0
    assert commands.scripts().count("metrics.py") == 3
    text = capsys.readouterr().out
    assert "21.00 ± 1.00 / 0.9000 ± 0.0000" in text and "1.5 ± 0.0" in text
    assert [entry["psnr"] for entry in load(clip)["runs"]] == [20.0, 21.0, 22.0]


def test_a_run_that_failed_is_named_the_others_go_on_and_it_is_taken_up_again(clip, commands, capsys):
    commands.failing = "seed_1 --skip_train"
    assert run(clip, "--only", "head", "--seeds", "0", "1") == 1
    assert "clip head seed 1: FAILED, render.py ended with 2: error: it broke" in capsys.readouterr().out
    assert [entry["seed"] for entry in load(clip)["runs"]] == [0]

    commands.seen, commands.failing = [], ""
    assert run(clip, "--only", "head", "--seeds", "0", "1") == 0
    assert commands.scripts() == ["train.py", "render.py", "metrics.py"]
    assert commands.seen[0][1:] == ["-m", commands.seen[1][2], "--resume"]
    assert [entry["seed"] for entry in load(clip)["runs"]] == [0, 1]


def test_other_flags_begin_a_run_anew(clip, commands):
    run(clip, "--only", "head", "--seeds", "0", "--train_flags", "--iterations 7")
    commands.seen = []
    (clip.parent / "out" / "main" / "clip" / "head" / "seed_0" / "test" / "ours_5" / "metrics.json").unlink()
    (clip.parent / "out" / "main" / "clip" / "head" / "seed_0" / "test" / "ours_5").rmdir()
    run(clip, "--only", "head", "--seeds", "0", "--train_flags", "--iterations 8")
    assert commands.seen[0][-1] == "--overwrite" and "8" in commands.seen[0]


def test_rows_that_the_data_do_not_allow_are_left_out_with_a_line(clip, commands, capsys):
    run(clip, "--only", "tracked", "whole", "--seeds", "0")
    assert "clip tracked: left out, the data have no torso_transform" in capsys.readouterr().err
    assert [entry["row"] for entry in load(clip)["runs"]] == ["whole"]
    with edited_json(clip) as document:
        document["frames"][0]["torso_transform"] = []
    run(clip, "--only", "tracked", "whole", "--seeds", "0")
    assert [entry["row"] for entry in load(clip)["runs"]] == ["tracked", "whole"]


def test_ablations_are_scored_on_validation_frames(clip, commands):
    run(clip, "--table", "ablation", "--only", "derivations_2", "--seeds", "0", "--test_frames", "4")
    train, _, metrics = commands.seen
    assert train[train.index("--num_derivations") + 1] == "2" and "--only_head" in train
    assert train[train.index("--test_frames") + 1] == "4"
    assert metrics[metrics.index("--set") + 1] == "val"
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
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(clip, arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        run(clip, *arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_a_cell_leaves_out_what_is_not_defined_and_has_no_spread_for_one_seed():
    names = (("a", 1), ("b", 2))
    seeds = [{"a": 1.0, "b": None}, {"a": 2.0}]
    assert cell(seeds[:1], names, 10) == "10.0 / -"
    assert cell(seeds, names, 1) == f"1.5 ± {statistics.stdev([1, 2]):.1f} / -"
