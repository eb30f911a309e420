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


NAMES = ("other", "jawOpen", "mouthPucker")


def clip(folder, **changed) -> SimpleNamespace:
    """A head that yaws from -4 to 4 degrees, which landmarks see twice as far."""
    yaws = np.deg2rad(np.linspace(-4, 4, COUNT))
    turns = np.column_stack([0 * yaws, yaws, 0 * yaws])
    places = np.tile([0.0, 0, 3], (COUNT, 1))
    raw = np.random.default_rng(0).uniform(size=(2 * COUNT, 3))
    found = dict(
        layout=Layout(folder),
        image_times=np.arange(COUNT) / 10,
        head=SimpleNamespace(poses=Poses(exp_so3(2 * turns) @ UPRIGHT, places), frames=2 * np.arange(COUNT)),
        smoothed=SimpleNamespace(poses=Poses(exp_so3(turns) @ UPRIGHT, places)),
        track=SimpleNamespace(coefficient_names=NAMES, coefficients=raw),
        image_expressions=raw[::2] / 2,
        expression_names=NAMES,
        coefficients=None,
        refinement=SimpleNamespace(flow=np.linspace(0.1, 0.3, COUNT)),
    )
    return SimpleNamespace(**(found | changed))


@pytest.fixture
def draw(monkeypatch):
    """Draws the curves of a clip, and returns the charts."""
    figures = []

    def save(figure, path, **options):
        figures.append(figure)
        path.write_bytes(b"png")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)

    def drawn(work):
        write_curves(work)
        assert (work.layout.report / "curves.png").read_bytes() == b"png"
        return figures[-1].axes

    return drawn


@pytest.fixture
def charts(tmp_path, draw):
    work = clip(tmp_path)
    return work, draw(work)


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


def test_solved_coefficients_are_bold_and_the_scores_of_the_same_name_thin(tmp_path, draw):
    solved = np.random.default_rng(1).uniform(size=(COUNT, 3))
    names = ("mouthPucker", "browInnerUp", "jawOpen")
    head_fit = SimpleNamespace(head=SimpleNamespace(names=names))
    work = clip(tmp_path, coefficients=solved, head_fit=head_fit)
    chart = draw(work)[2]
    assert list(lines(chart)) == ["jawOpen", "mouthPucker"]
    bold, thin = lines(chart)["jawOpen"]
    assert np.array_equal(bold, solved[:, 2])
    assert np.array_equal(thin, work.track.coefficients[::2, 1])
    assert chart.get_ylabel() == "solved (thin: score)"
