import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from utils.errors import UserError
from utils.images import read_png
from utils.plots import LossPoint, ScorePoint, plot_training

LOSSES = [LossPoint(i / 60, i, 0.3 / (1 + i / 20), 5000 + 10 * i) for i in range(200)]
SCORES = [ScorePoint(i, 50 * i, split, 20.0 + i) for i in range(4) for split in ("train sample", "test")]


def _ink(path):
    """Count the pixels that are no shade of grey in each third of the picture: the curves."""
    pixels = read_png(path).astype(int)
    is_coloured = np.ptp(pixels, axis=2) > 40
    return [third.sum() for third in np.array_split(is_coloured, 3, axis=1)]


@pytest.fixture
def panels(monkeypatch):
    """Axes of the figures that are saved."""
    saved = []
    save = Figure.savefig

    def recording(figure, *args, **options):
        saved.extend(figure.axes)
        return save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", recording)
    return saved


def test_curves_are_drawn_in_all_three_panels(tmp_path):
    plot_training(tmp_path / "deep" / "curves.png", LOSSES, SCORES)
    assert min(_ink(tmp_path / "deep" / "curves.png")) > 200
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["curves.png"]


def test_lines_go_through_the_points_of_the_run(tmp_path, panels):
    plot_training(tmp_path / "curves.png", LOSSES, SCORES)
    loss, score, count = ([line.get_xydata().tolist() for line in axes.lines] for axes in panels)
    assert loss[0] == [[point.minutes, point.loss] for point in LOSSES]
    assert count == [[[point.minutes, point.num_gaussians] for point in LOSSES]]
    for line, split in zip(score, ("train sample", "test"), strict=True):
        assert line == [[point.minutes, point.psnr] for point in SCORES if point.split == split]
    labels = [text.get_text() for text in panels[1].get_legend().get_texts()]
    assert labels == ["train sample (last 23.00 dB)", "test (last 23.00 dB)"]


def test_smooth_loss_is_the_exponential_mean_over_a_fiftieth_of_the_points(tmp_path, panels):
    plot_training(tmp_path / "curves.png", LOSSES, [])
    losses = np.array([point.loss for point in LOSSES])
    rate = 50 / len(LOSSES)
    # What is left of point k at point i; nothing stands before the first point, which has the rest.
    age = np.subtract.outer(np.arange(len(LOSSES)), np.arange(len(LOSSES)))
    weights = np.where(age >= 0, rate * (1 - rate) ** age.clip(0), 0)
    weights[:, 0] += 1 - weights.sum(axis=1)
    np.testing.assert_allclose(panels[0].lines[1].get_ydata(), weights @ losses, rtol=1e-12)


def test_a_picture_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"curves\.png: cannot be written"):
        plot_training(tmp_path / "file" / "curves.png", LOSSES, SCORES)


def test_panels_without_data_stay_empty(tmp_path):
    plot_training(tmp_path / "curves.png", LOSSES, [])
    loss, score, count = _ink(tmp_path / "curves.png")
    assert loss > 200 and count > 200 and score == 0
    plot_training(tmp_path / "none.png", [], [])
    assert _ink(tmp_path / "none.png") == [0, 0, 0]


def test_matplotlib_is_imported_only_when_drawing():
    code = "import sys, utils.plots; sys.exit('matplotlib' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
