"""A data set as a driver: coefficients, head rotations and, where they are there, pictures of its frames."""

from pathlib import Path

import numpy as np

from rendering.driving.sequence import DrivingSequence
from scene.dataset_readers import read_transforms
from utils.json_files import read_json

TRANSFORMS = "transforms.json"


def read_data_set(root: Path, default_rate: float) -> DrivingSequence:
    """Read the frames of a data set in time order; where they tell no `time`, at `default_rate`.

    Raises UserError.
    """
    clip = read_transforms(root)
    return DrivingSequence(
        source=root,
        names=clip.expression_names,
        coefficients=np.stack([frame.expression for frame in clip.frames]),
        rate=frame_rate_of(root / TRANSFORMS) or default_rate,
        rotations=np.stack([frame.camera_to_world[:3, :3].T for frame in clip.frames]),
        pictures=tuple(frame.image_path for frame in clip.frames),
    )


def frame_rate_of(path: Path) -> float | None:
    """Frames per second: the median step of `time` (seconds) in order; frames that were left out are none."""
    entries = read_json(path)["frames"]
    times = [entry.get("time") for entry in sorted(entries, key=lambda entry: entry["img_id"])]
    if len(times) < 2 or not all(isinstance(time, (int, float)) for time in times):
        return None
    step = float(np.median(np.diff(times)))
    return 1 / step if step > 0 else None
