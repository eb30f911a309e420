import subprocess
import sys
from pathlib import Path

import numpy as np

from utils.images import read_png
from utils.plots import LossPoint, ScorePoint, plot_training

LOSSES = [LossPoint(i / 60, i, 0.3 / (1 + i / 20), 5000 + 10 * i) for i in range(200)]
SCORES = [ScorePoint(i, 50 * i, split, 20.0 + i) for i in range(4) for split in ("train sample", "test")]


def _ink(path):
    """Count the pixels that are no shade of grey in each third of the picture: the curves."""
    pixels = read_png(path).astype(int)
    is_coloured = np.ptp(pixels, axis=2) > 40
    return [third.sum() for third in np.array_split(is_coloured, 3, axis=1)]


def test_curves_are_drawn_in_all_three_panels(tmp_path):
    plot_training(tmp_path / "deep" / "curves.png", LOSSES, SCORES)
    assert min(_ink(tmp_path / "deep" / "curves.png")) > 200


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
