"""Scores of methods as curves over frames, and against the turn of the head; each one PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scoring.comparison import MOST_PSNR, Method
from scoring.grouping import yaws_of
from utils.files import replacing

# Score, what its axis says.
CURVES = (("psnr", "PSNR, dB"), ("head_psnr", "PSNR of the head, dB"), ("ssim", "SSIM"))


def plot_frames(path: Path, methods: Sequence[Method]) -> None:
    """Draw PSNR, PSNR of the head and SSIM of every frame against its img_id. Raises UserError."""
    figure, all_axes = _figure(len(CURVES), (11, 7.5))
    for axes, (name, label) in zip(all_axes, CURVES, strict=True):
        for method in methods:
            ids = [view.image_id for view in method.rendered.views]
            values = np.minimum(method.values(name), MOST_PSNR)
            marker = "." if len(ids) <= 60 else None
            legend = f"{method.label} (mean {np.nanmean(values):.4g})"
            axes.plot(ids, values, marker=marker, linewidth=1.2, label=legend)
        axes.set(ylabel=label)
    all_axes[-1].set_xlabel("frame, img_id")
    _save(figure, all_axes, path)


def plot_yaw(path: Path, methods: Sequence[Method]) -> None:
    """Draw the PSNR of every frame against the yaw of its head. Raises UserError."""
    figure, (axes,) = _figure(1, (8, 4))
    for method in methods:
        axes.scatter(yaws_of(method.rendered), method.psnr, s=14, alpha=0.7, label=method.label)
    axes.set(xlabel="yaw of the camera in the head's frame, degrees", ylabel="PSNR, dB")
    _save(figure, [axes], path)


def _figure(num_rows: int, size: tuple[float, float]):
    """A figure without pyplot: no global state, no window."""
    # Slow to import, and wanted only here.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(num_rows, 1, squeeze=False, sharex=True)[:, 0]


def _save(figure, all_axes, path: Path) -> None:
    for axes in all_axes:
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
