"""Training curves against wall-clock time, as one PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from utils.files import replacing


class LossPoint(NamedTuple):
    """One training iteration; `minutes` since training began, over all resumed runs."""

    minutes: float
    iteration: int
    loss: float
    num_gaussians: int


class ScorePoint(NamedTuple):
    """One evaluation; `split` is what the legend says, for example "test" or "train sample"."""

    minutes: float
    iteration: int
    split: str
    psnr: float


def plot_training(path: str | Path, losses: Sequence[LossPoint], scores: Sequence[ScorePoint]) -> None:
    """Draw loss, PSNR of each split, and number of Gaussians, each against minutes; makes the folder.

    Raises UserError where the file system refuses.
    """
    # Slow to import, and wanted only here. The figure is made without pyplot: no global state, no window.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6))
    FigureCanvasAgg(figure)
    # To find the margins would take as long as to draw.
    figure.subplots_adjust(left=0.075, right=0.985, bottom=0.14, top=0.96, wspace=0.3)
    loss_axes, score_axes, count_axes = figure.subplots(1, 3)

    minutes = [point.minutes for point in losses]
    loss_axes.plot(minutes, [point.loss for point in losses], linewidth=0.5, alpha=0.3, color="tab:blue")
    loss_axes.plot(minutes, _running_mean([point.loss for point in losses]), color="tab:blue")
    loss_axes.set(ylabel="loss", yscale="log")

    for split in dict.fromkeys(point.split for point in scores):
        points = [point for point in scores if point.split == split]
        label = f"{split} (last {points[-1].psnr:.2f} dB)"
        marker = "." if len(points) <= 50 else None
        score_axes.plot([p.minutes for p in points], [p.psnr for p in points], marker=marker, label=label)
    score_axes.set(ylabel="PSNR in dB")
    if scores:
        score_axes.legend()

    count_axes.plot(minutes, [point.num_gaussians for point in losses], color="tab:green")
    count_axes.set(ylabel="number of Gaussians")
    count_axes.set_ylim(bottom=0)
    for axes in (loss_axes, score_axes, count_axes):
        axes.set_xlabel("minutes")
        axes.grid(alpha=0.3)

    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _running_mean(values: Sequence[float]) -> list[float]:
    """Smooth by an exponential mean over about a fiftieth of the points."""
    rate = 1 / max(1.0, len(values) / 50)
    smoothed: list[float] = []
    for value in values:
        smoothed.append(value if not smoothed else smoothed[-1] + rate * (value - smoothed[-1]))
    return smoothed
