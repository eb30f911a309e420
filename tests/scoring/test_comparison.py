"""Methods beside each other, by metrics.py as a user calls it."""

import csv
import re

import cv2
import numpy as np
import pytest

import metrics
from arguments import ScoringParams
from scoring.comparison import labels_of, methods_of
from scoring.comparison_files import shown_frames
from scoring.grouping import by_yaw
from scoring.rendered_set import find_rendered_sets
from scoring.scores import SetScores
from tests.scoring.runs import noisy, shifted, write_run
from tests.synthetic import edited_json, write_clip

IDS = (9, 10, 11)


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip", width=64, height=48)


@pytest.fixture
def runs(clip, tmp_path):
    return write_run(tmp_path / "one", clip, noisy), write_run(tmp_path / "two", clip, shifted)


def call(*flags):
    metrics.main([*map(str, flags), "--device", "cpu", "--quiet"])


def refused(capsys, *flags):
    with pytest.raises(SystemExit) as stop:
        call(*flags)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and len(error.strip().splitlines()) == 1
    return error


def psnr_of_files(render, truth):
    """The definition, by NumPy in float64 on the files."""
    pictures = [cv2.imread(str(path)).astype(np.float64) / 255 for path in (render, truth)]
    return -10 * np.log10(((pictures[0] - pictures[1]) ** 2).mean())


def files_of(run):
    folder = run / "test" / "ours_7"
    return [(folder / "renders" / f"{i:05d}.png", folder / "gt" / f"{i:05d}.png") for i in range(len(IDS))]


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def copied(run, folder, names):
    folder.mkdir()
    for (render, _), name in zip(files_of(run), names, strict=True):
        (folder / name).write_bytes(render.read_bytes())
    return folder


def test_tables_hold_the_psnr_of_the_files(runs, capsys):
    call("-m", *runs)
    folder = runs[0] / "comparison" / "test"
    expected = {run.name: [psnr_of_files(*pair) for pair in files_of(run)] for run in runs}
    frames = rows_of(folder / "frames.csv")
    assert [(row["method"], int(row["img_id"])) for row in frames] == [
        (name, i) for name in ("one", "two") for i in IDS
    ]
    for row in frames:
        assert float(row["psnr"]) == pytest.approx(
            expected[row["method"]][IDS.index(int(row["img_id"]))], 1e-4
        )
    for row in rows_of(folder / "scores.csv"):
        assert float(row["psnr"]) == pytest.approx(np.mean(expected[row["method"]]), 1e-4)
    text = (folder / "scores.md").read_text()
    whole = re.search(r"\| whole +\| +3 \| +([\d.]+) / [\d.]+ \| +([\d.]+) /", text)
    np.testing.assert_allclose(
        [float(x) for x in whole.groups()], [np.mean(e) for e in expected.values()], atol=6e-3
    )
    assert "index.html" in capsys.readouterr().out


def test_the_score_of_a_part_is_that_of_its_pixels(clip, tmp_path):
    """The parsing of the clip is blue above and green below: green is the neck."""
    run = write_run(tmp_path / "run", clip, noisy)
    call("-m", run, "-o", tmp_path / "c")
    rows = {row["region"]: row for row in rows_of(tmp_path / "c" / "test" / "by_region.csv")}
    assert set(rows) == {"whole", "head", "mouth", "eyes", "neck", "background"}
    found = []
    for image_id, pair in zip(IDS, files_of(run), strict=True):
        render, truth = (cv2.imread(str(path)).astype(np.float64) / 255 for path in pair)
        parsing = cv2.imread(str(clip / "parsing" / f"{image_id}.png"))
        matte = cv2.imread(str(clip / "mask" / f"{image_id + 1}.png"), cv2.IMREAD_GRAYSCALE)
        inside = (parsing == (0, 255, 0)).all(axis=2) & (matte > 127)
        found.append(-10 * np.log10(((render - truth)[inside] ** 2).mean()))
    assert float(rows["neck"]["psnr"]) == pytest.approx(np.mean(found), 1e-4)


def test_without_parsing_one_line_says_so(clip, runs, capsys):
    for path in (clip / "parsing").iterdir():
        path.unlink()
    call("-m", *runs)
    assert "no parsing/; no scores of neck and torso" in capsys.readouterr().out


def test_frames_are_taken_together_by_the_turn_of_the_head(clip, runs):
    sets = [find_rendered_sets(ScoringParams(model_path=(run,)))[0] for run in runs]
    scores = [SetScores(tuple({"psnr": value} for value in values)) for values in ((1, 2, 6), (3, 4, 5))]
    methods = methods_of(list(zip(sets, scores)))
    # The clip's camera yaws by 10 sin(2 pi i / 12) degrees: -10, -8.66, -5.
    groups = by_yaw(methods, (0, 8, 9, 90))
    assert [(group.name, group.num_frames) for group in groups] == [
        ("0 to 8", 1),
        ("8 to 9", 1),
        ("9 and more", 1),
    ]
    assert [[mean["psnr"] for mean in group.means] for group in groups] == [[6, 5], [2, 4], [1, 3]]
    assert shown_frames(methods) == {"best": [2, 1, 0], "worst": [0, 1, 2], "differ": [0, 1, 2]}


def test_a_head_that_does_not_turn_is_one_line(clip, tmp_path, capsys):
    with edited_json(clip) as document:
        for frame in document["frames"]:
            frame["transform_matrix"] = document["frames"][0]["transform_matrix"]
    call("-m", write_run(tmp_path / "run", clip, noisy), "-o", tmp_path / "c")
    assert "by yaw: the head does not turn" in capsys.readouterr().out


def test_names_are_as_short_as_tells_them_apart(clip, tmp_path):
    found = [
        find_rendered_sets(ScoringParams(model_path=(write_run(tmp_path / name / "id1", clip, noisy),)))[0]
        for name in ("a", "b")
    ]
    assert labels_of(found) == ["a/id1", "b/id1"] and labels_of(found[:1]) == ["id1"]


def test_a_run_alone_leaves_no_comparison(runs, capsys):
    call("-m", runs[0])
    assert not (runs[0] / "comparison").exists() and "index.html" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "names", [("00000.png", "00001.png", "00002.png"), ("f_9.png", "f_10.png", "f_11.png")]
)
def test_pictures_of_another_method_score_as_those_of_a_run(runs, tmp_path, names):
    other = copied(runs[1], tmp_path / "other", names)
    before = sorted(path.name for path in other.iterdir())
    call("-m", *runs, "--renders", other, "-o", tmp_path / "c")
    rows = {row.pop("method"): row for row in rows_of(tmp_path / "c" / "test" / "scores.csv")}
    assert rows["other"] == rows["two"] != rows["one"]
    assert sorted(path.name for path in other.iterdir()) == before


def test_the_truth_may_come_of_the_clip(clip, runs, tmp_path):
    """The runs are of the whole person on black, the default."""
    others = [copied(run, tmp_path / f"{run.name}_pngs", ("9.png", "10.png", "11.png")) for run in runs]
    call("-m", *runs, "-o", tmp_path / "c")
    call("-s", clip, "--renders", *others, "-o", tmp_path / "d")
    tables = [rows_of(tmp_path / name / "test" / "scores.csv") for name in ("c", "d")]
    for own, foreign in zip(*tables, strict=True):
        assert foreign.pop("method") == f"{own.pop('method')}_pngs" and foreign == own


def spoil(how, runs, clip, tmp_path):
    """What is wrong, as flags, and what the line says."""
    names = ("0.png", "1.png", "2.png")
    one, two = runs
    if how == "frames":
        return [
            "-m",
            one,
            write_run(tmp_path / "x", clip, noisy, image_ids=(8, 9, 10)),
        ], "3 from img_id 8 to 10; expected"
    if how == "count of frames":
        return [
            "-m",
            one,
            write_run(tmp_path / "x", clip, noisy, image_ids=(9, 10)),
        ], "frames: 2 from img_id 9"
    if how == "no set in common":
        return ["-m", one, write_run(tmp_path / "x", clip, noisy, name="val")], "no set that all methods have"
    if how == "truth":
        return ["-m", one, write_run(tmp_path / "x", clip, noisy, only_head=True)], "its truth is not that of"
    if how == "clip":
        other = write_clip(tmp_path / "other_clip", width=64, height=48)
        with edited_json(other) as document:
            document["fx"] += 1
        return ["-m", one, write_run(tmp_path / "x", other, noisy)], "of the clip"
    if how == "no folder":
        return ["-m", one, "--renders", tmp_path / "none"], "no such folder"
    if how == "no run, no clip":
        return ["--renders", tmp_path], "-m/--model_path: missing"
    if how == "white with a run":
        return ["-m", one, "-w"], "--white_background: is as the run"
    if how == "run twice":
        return ["-m", one, two, one.parent / "." / one.name], f"-m/--model_path {one}: named twice"
    folder = copied(two, tmp_path / "o", names)
    if how == "folder twice":
        return ["-m", one, "--renders", folder, folder], f"--renders {folder}: named twice"
    if how == "count":
        (folder / "1.png").unlink()
        return ["-m", one, "--renders", folder], "2 PNGs, 0.png to 2.png; expected 3 of the test set"
    if how == "numbers":
        (folder / "1.png").rename(folder / "7.png")
        return ["-m", one, "--renders", folder], "expected 3 of the test set"
    if how == "twice":
        (folder / "b1.png").write_bytes((folder / "1.png").read_bytes())
        return ["-m", one, "--renders", folder], "number 1 twice"
    if how == "name":
        (folder / "1.png").rename(folder / "x.png")
        return ["-m", one, "--renders", folder], "no number in its name"
    if how == "size":
        cv2.imwrite(str(folder / "1.png"), np.zeros((9, 9, 3), np.uint8))
        return ["-m", one, "--renders", folder], "1.png: size 9 x 9; expected 64 x 48"
    if how == "transparent":
        cv2.imwrite(str(folder / "1.png"), np.zeros((48, 64, 4), np.uint8))
        return ["-m", one, "--renders", folder], "is transparent"
    assert how == "damaged"
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:99])
    return ["-m", one, "--renders", folder], "expected a complete image"


def test_files_that_macos_leaves_beside_pictures_are_none(runs, tmp_path):
    one, two = runs
    folder = copied(two, tmp_path / "o", ("0.png", "1.png", "2.png"))
    (folder / "._1.png").write_bytes(b"AppleDouble")
    call("-m", one, "--renders", folder, "-o", tmp_path / "c")
    assert (tmp_path / "c/test/index.html").is_file()


@pytest.mark.parametrize(
    "how",
    [
        *("frames", "count of frames", "no set in common", "truth", "clip", "no folder", "no run, no clip"),
        *(
            "run twice",
            "folder twice",
            "white with a run",
            "count",
            "numbers",
            "twice",
            "name",
            "size",
            "transparent",
            "damaged",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line_before_anything_is_written(how, runs, clip, tmp_path, capsys):
    flags, message = spoil(how, runs, clip, tmp_path)
    assert message in refused(capsys, *flags)
    assert not list(tmp_path.rglob("strips.png")) and not list(tmp_path.rglob("comparison"))
