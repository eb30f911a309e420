"""What is drawn into curves.png, looked at before it becomes pixels."""

from types import SimpleNamespace

import matplotlib.figure
import numpy as np
import pytest

from preparation.data_set.layout import Layout
from preparation.geometry.rigid import Poses, exp_so3
from preparation.report.curves import write_curves

COUNT = 9
UPRIGHT = np.diag([1.0, -1, -1])


@pytest.fixture
def charts(tmp_path, monkeypatch):
    """The charts of a head that yaws from -4 to 4 degrees, which landmarks see twice as far."""
    yaws = np.deg2rad(np.linspace(-4, 4, COUNT))
    turns = np.column_stack([0 * yaws, yaws, 0 * yaws])
    places = np.tile([0.0, 0, 3], (COUNT, 1))
    raw = np.random.default_rng(0).uniform(size=(2 * COUNT, 3))
    work = SimpleNamespace(
        layout=Layout(tmp_path),
        image_times=np.arange(COUNT) / 10,
        head=SimpleNamespace(poses=Poses(exp_so3(2 * turns) @ UPRIGHT, places), frames=2 * np.arange(COUNT)),
        smoothed=SimpleNamespace(poses=Poses(exp_so3(turns) @ UPRIGHT, places)),
        track=SimpleNamespace(coefficient_names=("other", "jawOpen", "mouthPucker"), coefficients=raw),
        image_expressions=raw[::2] / 2,
        refinement=SimpleNamespace(flow=np.linspace(0.1, 0.3, COUNT)),
    )
    figures = []

    def save(figure, path, **options):
        figures.append(figure)
        path.write_bytes(b"png")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)
    write_curves(work)
    assert (tmp_path / "report/curves.png").read_bytes() == b"png"
    return work, figures[0].axes


def lines(chart) -> dict[str, list[np.ndarray]]:
    """Bold and thin curve, by name."""
    drawn = chart.get_lines()
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    return {bold.get_label(): [bold.get_ydata(), thin.get_ydata()] for bold, thin in pairs}


def test_poses_are_drawn_bold_after_smoothing_and_thin_before(charts):
    _, (turns, places, _, _) = charts
    bold, thin = lines(turns)["yaw"]
    assert bold == pytest.approx(np.linspace(-4, 4, COUNT))
    assert thin == pytest.approx(np.linspace(-8, 8, COUNT))
    assert lines(turns)["pitch"][0] == pytest.approx(np.zeros(COUNT))
    assert lines(places)["z"][0] == pytest.approx(np.zeros(COUNT))


def test_main_coefficients_and_error_are_drawn_over_time(charts):
    work, (_, _, expressions, errors) = charts
    assert list(lines(expressions)) == ["jawOpen", "mouthPucker"]
    bold, thin = lines(expressions)["mouthPucker"]
    assert np.array_equal(bold, work.image_expressions[:, 2])
    assert np.array_equal(thin, work.track.coefficients[::2, 2])
    (error,) = errors.get_lines()
    assert np.array_equal(error.get_xydata(), np.column_stack([work.image_times, work.refinement.flow]))
