"""curves.png: pose, main coefficients and error over time, thin before smoothing and bold after.

Where coefficients were solved with a head model, they are the bold ones and the detector's scores the thin.
"""

import numpy as np

from preparation.geometry.rigid import Poses, log_so3
from preparation.work import Work
from utils.files import replacing

_COEFFICIENTS = (
    "jawOpen",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "browInnerUp",
    "mouthSmileLeft",
    "mouthPucker",
)


def write_curves(work: Work) -> None:
    """Draw the curves of a clip."""
    # Slow to import, and wanted only here; without pyplot: no global state, no window.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 10), layout="constrained")
    FigureCanvasAgg(figure)
    charts = turn_chart, place_chart, expression_chart, error_chart = figure.subplots(4, 1, sharex=True)
    times, before, after = work.image_times, work.head.poses, work.smoothed.poses
    _draw_poses(turn_chart, place_chart, times, before, after)
    _draw_expressions(expression_chart, work)
    flow = work.refinement.flow
    coefficient = "coefficient" if work.coefficients is None else "solved (thin: score)"
    error_chart.plot(times, flow, color="tab:red", linewidth=0.8, label="residual optical flow")
    for chart, label in zip(charts, ("degrees", "head units", coefficient, "pixels"), strict=True):
        chart.set_ylabel(label)
        chart.grid(alpha=0.3)
        # Above the chart, where it hides nothing.
        chart.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, frameon=False, borderaxespad=0)
    error_chart.set_xlabel("seconds")
    with replacing(work.layout.report / "curves.png") as partial:
        figure.savefig(partial, format="png", dpi=100)


def _draw_poses(turn_chart, place_chart, times: np.ndarray, before: Poses, after: Poses) -> None:
    reference = after.rotations[len(after.rotations) // 2]
    turns = [np.rad2deg(log_so3(poses.rotations @ reference.T)) for poses in (before, after)]
    places = [poses.translations - after.translations.mean(axis=0) for poses in (before, after)]
    for chart, (thin, bold), labels in (
        (turn_chart, turns, ("pitch", "yaw", "roll")),
        (place_chart, places, ("x", "y", "z")),
    ):
        for column, label in enumerate(labels):
            _draw_pair(chart, times, thin[:, column], bold[:, column], label)


def _draw_expressions(chart, work: Work) -> None:
    scores = dict(zip(work.track.coefficient_names, work.track.coefficients[work.head.frames].T, strict=True))
    if work.coefficients is None:
        drawn = dict(zip(work.expression_names, work.image_expressions.T, strict=True))
    else:
        drawn = dict(zip(work.head_fit.head.names, work.coefficients.T, strict=True))
    for name in (name for name in _COEFFICIENTS if name in scores and name in drawn):
        _draw_pair(chart, work.image_times, scores[name], drawn[name], name)


def _draw_pair(chart, times: np.ndarray, thin: np.ndarray, bold: np.ndarray, label: str) -> None:
    (line,) = chart.plot(times, bold, label=label, linewidth=1.2)
    chart.plot(times, thin, color=line.get_color(), linewidth=0.5, alpha=0.5)
