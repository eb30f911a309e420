"""A data set as a driver: coefficients, head rotations and, where they are there, pictures of its frames."""

from pathlib import Path

import numpy as np

from rendering.driving.sequence import DrivingSequence, evenly_timed
from scene.dataset_readers import read_transforms
from utils.errors import UserError
from utils.json_files import is_number, read_json

TRANSFORMS = "transforms.json"


def read_data_set(root: Path, default_rate: float) -> DrivingSequence:
    """Read the frames of a data set in time order; where they tell no `time`, at `default_rate`.

    Over frames that were left out the motion is interpolated, and the picture before them stays. Raises
    UserError.
    """
    clip = read_transforms(root)
    expressions = np.stack([frame.expression for frame in clip.frames])  # [F, E]
    rotations = np.stack([frame.camera_to_world[:3, :3].T for frame in clip.frames])
    pictures = [frame.image_path for frame in clip.frames]
    rate, notes = default_rate, ()
    if len(clip.frames) > 1:
        positions = np.arange(len(clip.frames))
        table = np.column_stack([expressions, rotations.reshape(-1, 9), positions])
        times = _times(root / TRANSFORMS, default_rate)
        table, rate = evenly_timed(root / TRANSFORMS, times, table.astype(np.float64))
        num_left_out = len(table) - len(expressions)
        if num_left_out > 0:
            notes = (f"{root}: {num_left_out} frames were left out; the motion is interpolated over them",)
        expressions = table[:, : expressions.shape[1]].astype(np.float32)
        rotations = _nearest_rotations(table[:, -10:-1].reshape(-1, 3, 3))
        pictures = [pictures[int(position + 1e-6)] for position in table[:, -1]]
    return DrivingSequence(
        source=root,
        names=clip.expression_names,
        coefficients=expressions,
        rate=rate,
        rotations=rotations,
        pictures=tuple(pictures),
        notes=notes,
    )


def frame_rate_of(path: Path) -> float | None:
    """Frames per second: the median step of `time` (seconds) in order; frames that were left out are none."""
    entries = read_json(path)["frames"]
    times = [entry.get("time") for entry in sorted(entries, key=lambda entry: entry["img_id"])]
    if len(times) < 2 or not all(is_number(time) for time in times):
        return None
    step = float(np.median(np.diff(times)))
    return 1 / step if step > 0 else None


def _times(path: Path, default_rate: float) -> list[float]:
    """Seconds of each frame, in order: its `time` where all have one, else by its number."""
    entries = sorted(read_json(path)["frames"], key=lambda entry: entry["img_id"])
    times = [entry.get("time") for entry in entries]
    if not all(is_number(time) for time in times):
        ids = np.array([entry["img_id"] for entry in entries], np.float64)
        return (ids / np.median(np.diff(ids)) / default_rate).tolist()
    steps = np.diff(times)
    is_forward = steps > 0
    if not is_forward.any():
        raise UserError(f"{path}: time: expected seconds that rise, found {times[0]:g} to {times[-1]:g}")
    # Where another piece of film begins, time goes back.
    steps[~is_forward] = np.median(steps[is_forward])
    return [0.0, *np.cumsum(steps).tolist()]


def _nearest_rotations(matrices: np.ndarray) -> np.ndarray:  # [F, 3, 3]
    """The rotations nearest to mixtures of rotations that lie less than half a turn apart."""
    u, _, v = np.linalg.svd(matrices)
    return u @ v
