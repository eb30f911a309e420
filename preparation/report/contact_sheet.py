"""contact_sheet.png: some frames, with landmarks and axes, the head model, mattes and parsing maps."""

import cv2
import numpy as np

from preparation.data_set.images_and_arrays import read_image, write_image
from preparation.geometry.camera import Camera
from preparation.geometry.landmark_names import (
    LEFT_BROW,
    LEFT_EYE,
    LIPS,
    OUTLINE,
    RIGHT_BROW,
    RIGHT_EYE,
    STABLE,
)
from preparation.geometry.rigid import Poses, project
from preparation.report.head_measures import MIDDLE_OF_LIPS
from preparation.report.overlay import draw_overlay, overlay_frames
from preparation.work import Work
from utils.images import contact_sheet

NUM_ROWS = 8
# Pixels, at most: the side of a picture on the sheet.
CELL = 320
# Sides of the square around the face's landmarks that is shown of the head model.
_AROUND_FACE = 1.7
# x is red, y green, z blue.
_AXES = ((230, 60, 60), (60, 200, 60), (70, 110, 255))
# Head units.
_AXIS_LENGTH = 0.25


def write_contact_sheet(work: Work) -> None:
    """Draw frames from the whole clip, one a row."""
    image_ids, times, pixels = work.image_ids, work.image_times, work.image_landmarks
    poses, camera, layout = work.smoothed.poses, work.head.camera, work.layout
    telling = {} if work.head_fit is None else _telling_frames(work)
    chosen = chosen_rows(len(image_ids), list(telling.values()))
    labels = {row: label for label, row in telling.items()}
    predicted = project(poses.select(chosen).apply(work.head.landmarks), camera.focal, camera.center)
    axes = axes_pixels(poses.select(chosen), camera)
    rows = []
    for row, guess, ends in zip(chosen, predicted, axes, strict=True):
        image_id = int(image_ids[row])
        frame = read_image(layout.image(image_id))
        label = f"frame {image_id}, {times[row]:.2f} s, {work.refinement.flow[row]:.2f} px"
        cells = [(label, draw_tracking(frame, pixels[row], guess, ends))]
        if work.head_fit is not None:
            mesh = draw_overlay(frame, work.vertices(row), work.head_fit.head, camera)
            name = f"head model: {labels[row]}" if row in labels else "head model"
            cells.append((name, around_face(mesh, pixels[row])))
        cells.append(("matte", on_magenta(frame, read_image(layout.mask(image_id), cv2.IMREAD_GRAYSCALE))))
        if layout.parsing(image_id).exists():
            parsing = read_image(layout.parsing(image_id))
            cells.append(("parsing", cv2.addWeighted(frame, 0.5, parsing, 0.5, 0)))
        rows.append(cells)
    write_image(layout.report / "contact_sheet.png", contact_sheet(rows, CELL))


def chosen_rows(count: int, telling: list[int]) -> list[int]:
    """NUM_ROWS of `count` rows, or all: those that tell most, then what is farthest in time from these.

    Evenly spread rows where none tells more than others.
    """
    if not telling:
        return np.unique(np.linspace(0, count - 1, NUM_ROWS).astype(int)).tolist()
    chosen = list(telling)
    while len(chosen) < min(NUM_ROWS, count):
        distances = abs(np.subtract.outer(np.arange(count), chosen)).min(axis=1)
        chosen.append(int(distances.argmax()))
    return chosen


def _telling_frames(work: Work) -> dict[str, int]:
    poses = work.smoothed.poses
    # By what is seen: a jaw that is down under lips that are shut is no open mouth.
    upper, lower = (work.image_landmarks[:, landmark] for landmark in MIDDLE_OF_LIPS)
    return overlay_frames(poses, np.linalg.norm(upper - lower, axis=1) * poses.translations[:, 2])


def draw_tracking(
    frame: np.ndarray,  # [H, W, 3] uint8
    tracked: np.ndarray,  # [478, 2] pixels
    predicted: np.ndarray,  # [478, 2] pixels
    axes: np.ndarray,  # [4, 2] pixels: origin and the ends of x, y, z
) -> np.ndarray:  # [H, W, 3] uint8
    """Draw tracked landmarks red, those that the pose predicts green, and the axes of the head."""
    drawn = frame.copy()
    for x, y in predicted[STABLE]:
        cv2.circle(drawn, (round(x), round(y)), 2, (60, 220, 60), -1, cv2.LINE_AA)
    for group in (OUTLINE, LIPS, LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW):
        corners = tracked[group].round().astype(np.int32)
        cv2.polylines(drawn, [corners], True, (240, 70, 70), 1, cv2.LINE_AA)
    origin, *ends = axes.round().astype(int).tolist()
    for end, color in zip(ends, _AXES, strict=True):
        cv2.line(drawn, origin, end, color, 3, cv2.LINE_AA)
    return drawn


def around_face(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:  # [S, S, 3]
    """Cut a square with face, ears and neck out of a picture [H, W, 3], as large as fits into it."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    height, width = picture.shape[:2]
    side = int(min(_AROUND_FACE * (high - low).max(), height, width))
    left, top = np.clip((low + high - side) / 2, 0, [width - side, height - side]).astype(int)
    square = picture[top : top + side, left : left + side]
    return cv2.resize(square, (CELL, CELL), interpolation=cv2.INTER_AREA if side > CELL else cv2.INTER_CUBIC)


def on_magenta(frame: np.ndarray, matte: np.ndarray) -> np.ndarray:  # [H, W, 3]
    """Lay a frame [H, W, 3] by its matte [H, W], both uint8, on a colour that no face has."""
    weight = matte[..., None].astype(np.float32) / 255
    return (weight * frame + (1 - weight) * np.float32([255, 0, 255])).astype(np.uint8)


def axes_pixels(poses: Poses, camera: Camera) -> np.ndarray:  # [F, 4, 2]
    """Where the head frame's origin and axes are seen."""
    ends = _AXIS_LENGTH * np.concatenate([np.zeros((1, 3)), np.eye(3)])
    return project(poses.apply(ends), camera.focal, camera.center)
