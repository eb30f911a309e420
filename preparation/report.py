"""What a person looks at to see whether a data set is good: contact_sheet.png and curves.png."""

from pathlib import Path

import cv2
import numpy as np

from preparation.dataset_files import Layout
from preparation.face_points import LEFT_BROW, LEFT_EYE, LIPS, OUTLINE, RIGHT_BROW, RIGHT_EYE, STABLE
from preparation.files import read_image
from preparation.head_pose import Camera
from preparation.heads import Solution
from preparation.landmarks import LandmarkTrack
from preparation.photometric import Refinement
from preparation.rigid import Poses, log_so3, project
from utils.images import contact_sheet, write_png

NUM_ROWS = 8
_AXES = ((230, 60, 60), (60, 200, 60), (70, 110, 255))  # x red, y green, z blue
_AXIS_LENGTH = 0.25  # head units
_CURVES = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp", "mouthSmileLeft", "mouthPucker")


def write_reports(
    layout: Layout,
    solution: Solution,
    refinement: Refinement,
    poses: Poses,
    track: LandmarkTrack,
    expressions: np.ndarray,
    pixels: np.ndarray,
    image_ids: np.ndarray,
    seconds: np.ndarray,
) -> None:
    """Draw contact sheet and curves."""
    camera = solution.camera
    axes = axes_pixels(poses, camera)
    chosen = np.unique(np.linspace(0, len(image_ids) - 1, NUM_ROWS).astype(int))
    predicted = project(poses.select(chosen).apply(solution.landmarks), camera.focal, camera.center)
    rows = []
    for row, guess in zip(chosen, predicted, strict=True):
        image_id = int(image_ids[row])
        parsing = layout.parsing(image_id)
        rows.append(
            sheet_row(
                f"frame {image_id}, {seconds[row]:.2f} s, {refinement.flow[row]:.2f} px",
                read_image(layout.image(image_id)),
                read_image(layout.mask(image_id), cv2.IMREAD_GRAYSCALE),
                read_image(parsing) if parsing.exists() else None,
                pixels[row],
                guess,
                axes[row],
            )
        )
    write_png(layout.report / "contact_sheet.png", contact_sheet(rows))
    plot_tracking(
        layout.report / "curves.png",
        seconds,
        solution.poses,
        poses,
        track.coefficient_names,
        track.coefficients[solution.frames],
        expressions[solution.frames],
        refinement.flow,
    )


def sheet_row(
    label: str,
    frame: np.ndarray,  # [H, W, 3] uint8
    matte: np.ndarray,  # [H, W] uint8
    parsing: np.ndarray | None,  # [H, W, 3] uint8
    tracked: np.ndarray | None,  # [478, 2] pixels
    predicted: np.ndarray | None,  # [478, 2] pixels
    axes: np.ndarray,  # [4, 2] pixels: origin and the ends of x, y, z
) -> list[tuple[str, np.ndarray]]:
    """Draw a frame for the contact sheet: axes and landmarks, matte on magenta, parsing with its outline."""
    drawn = frame.copy()
    if predicted is not None:
        for x, y in predicted[STABLE]:
            cv2.circle(drawn, (round(x), round(y)), 2, (60, 220, 60), -1, cv2.LINE_AA)
    if tracked is not None:
        for group in (OUTLINE, LIPS, LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW):
            cv2.polylines(
                drawn, [tracked[group].round().astype(np.int32)], True, (240, 70, 70), 1, cv2.LINE_AA
            )
    origin, *ends = axes.round().astype(int).tolist()
    for end, color in zip(ends, _AXES, strict=True):
        cv2.line(drawn, origin, end, color, 3, cv2.LINE_AA)
    weight = matte[..., None].astype(np.float32) / 255
    on_magenta = (weight * frame + (1 - weight) * np.float32([255, 0, 255])).astype(np.uint8)
    cells = [(label, drawn), ("matte", on_magenta)]
    if parsing is not None:
        cells.append(("parsing", cv2.addWeighted(frame, 0.5, parsing, 0.5, 0)))
    return cells


def axes_pixels(poses: Poses, camera: Camera) -> np.ndarray:  # [F, 4, 2]
    """Where the head frame's origin and axes are seen."""
    ends = _AXIS_LENGTH * np.concatenate([np.zeros((1, 3)), np.eye(3)])
    return project(poses.apply(ends), camera.focal, camera.center)


def plot_tracking(
    path: Path,
    seconds: np.ndarray,  # [F]
    before: Poses,
    after: Poses,
    names: tuple[str, ...],
    raw: np.ndarray,  # [F, E]
    expressions: np.ndarray,  # [F, E]
    errors: np.ndarray,  # [F] pixels
) -> None:
    """Draw pose, main coefficients and error over time, thin before smoothing and bold after."""
    # Slow to import, and wanted only here; without pyplot: no global state, no window.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 10), layout="constrained")
    FigureCanvasAgg(figure)
    turn_axes, place_axes, expression_axes, error_axes = figure.subplots(4, 1, sharex=True)
    reference = after.rotations[len(after.rotations) // 2]
    turns = [np.rad2deg(log_so3(poses.rotations @ reference.T)) for poses in (before, after)]
    places = [poses.translations - after.translations.mean(axis=0) for poses in (before, after)]
    for axes, (thin, bold), labels in (
        (turn_axes, turns, ("pitch", "yaw", "roll")),
        (place_axes, places, ("x", "y", "z")),
    ):
        for column, label in enumerate(labels):
            (line,) = axes.plot(seconds, bold[:, column], label=label, linewidth=1.2)
            axes.plot(seconds, thin[:, column], color=line.get_color(), linewidth=0.5, alpha=0.5)
    for name in (name for name in _CURVES if name in names):
        column = names.index(name)
        (line,) = expression_axes.plot(seconds, expressions[:, column], label=name, linewidth=1.2)
        expression_axes.plot(seconds, raw[:, column], color=line.get_color(), linewidth=0.5, alpha=0.5)
    error_axes.plot(seconds, errors, color="tab:red", linewidth=0.8, label="residual optical flow")
    for axes, label in (
        (turn_axes, "degrees"),
        (place_axes, "head units"),
        (expression_axes, "coefficient"),
        (error_axes, "pixels"),
    ):
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right", ncols=6)
    error_axes.set_xlabel("seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=100)
