"""benchmarks/curves.py: from runs' scores to one picture."""

import json

import cv2
import pytest
from matplotlib.figure import Figure

from benchmarks import curves


def write_run(folder, evaluations):
    (folder / "eval").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"run": {"preset": "best"}}))
    points = [{"set": name, "seconds": s, "psnr": p} for name, s, p in evaluations]
    (folder / "eval" / "curves.json").write_text(json.dumps({"evaluations": points}))
    return str(folder)


def test_each_title_gets_the_held_out_curves_of_its_runs(tmp_path):
    first = write_run(tmp_path / "a", [("val", 1, 20), ("test", 2, 21.5), ("test", 4, 22.5)])
    second = write_run(tmp_path / "b", [("val", 3, 25)])
    panels = curves.panels_of(["obama, only head", first, second, "another", second])
    assert panels["obama, only head"] == [("best", [2, 4], [21.5, 22.5]), ("best", [3], [25])]
    assert panels["another"] == [("best", [3], [25])]


@pytest.fixture
def panels(monkeypatch):
    """Axes of the figure that is saved, by title."""
    saved = {}
    save = Figure.savefig

    def recording(figure, *args, **options):
        saved.update((axes.get_title(), axes) for axes in figure.axes)
        return save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", recording)
    return saved


def test_curves_go_through_the_scores_and_the_published_code_is_beside_them(tmp_path, panels):
    run = write_run(tmp_path / "a", [("test", 2, 21.5), ("test", 4, 22.5)])
    curves.main([str(tmp_path / "x.jpg"), "obama, only head", run, "another", run, "--lowest", "20"])
    published = [[5_000 / 27, 27.3], [5_800 / 27, 26.5]]
    for title, others in (("obama, only head", [published]), ("another", [])):
        lines = [line.get_xydata().tolist() for line in panels[title].lines]
        assert lines == [[[2, 21.5], [4, 22.5]], *others]
        assert panels[title].get_ylim()[0] == 20
    labels = [text.get_text() for text in panels["obama, only head"].get_legend().get_texts()]
    assert labels == ["best: 22.5 dB", "published code, best: 27.3 dB"]
    assert cv2.imread(str(tmp_path / "x.jpg")) is not None


def test_a_picture_with_a_panel_for_each_title_is_written(tmp_path):
    run = write_run(tmp_path / "a", [("test", 2, 21.5), ("test", 4, 22.5)])
    sizes = []
    for number, panels in enumerate((["obama, only head", run], ["obama, only head", run, "another", run])):
        path = tmp_path / "pictures" / f"{number}.png"
        curves.main([str(path), *panels])
        sizes.append(cv2.imread(str(path)).shape)
    assert sizes[1][1] == pytest.approx(2 * sizes[0][1], abs=2) and sizes[0][0] == sizes[1][0]


def test_what_is_missing_is_said(tmp_path, capsys):
    run = write_run(tmp_path / "a", [("train", 2, 21.5)])
    for name, words, message in (
        ("x.png", [run], "expected a title before the first run"),
        ("x.png", ["title", str(tmp_path / "no_run")], "expected a folder of a run"),
        ("x.png", ["title", run], "no scores of held-out frames"),
        ("x.png", ["title", run, "--lowest", "low"], "--lowest: invalid float value"),
        ("x.xyz", ["title", run], "expected a name that ends in .png"),
    ):
        with pytest.raises(SystemExit) as end:
            curves.main([str(tmp_path / name), *words])
        (line,) = capsys.readouterr().err.splitlines()
        assert end.value.code == 2 and message in line
    assert not (tmp_path / "x.png").exists()
