"""Which reader a path needs."""

from pathlib import Path

from rendering.driving.data_set import read_data_set
from rendering.driving.json_formats import read_driving_json
from rendering.driving.live_link import read_live_link
from rendering.driving.sequence import DrivingSequence
from utils.errors import UserError


def is_video(path: Path | None) -> bool:
    """Whether a driver is a file that has to be tracked first (preparation/driver.py)."""
    return path is not None and path.is_file() and path.suffix.lower() not in (".csv", ".json")


def read_driving(path: Path, default_rate: float, in_degrees: bool = False) -> DrivingSequence:
    """Read a data set's folder, a .csv of Live Link Face, or a .json.

    `default_rate` (frames per second) is that of files that tell none; `in_degrees` is the unit of head
    angles in a CSV. Raises UserError that names what is wrong.
    """
    if path.is_dir():
        return read_data_set(path, default_rate)
    if path.suffix.lower() == ".csv":
        return read_live_link(path, default_rate, in_degrees)
    if path.suffix.lower() == ".json":
        return read_driving_json(path, default_rate)
    raise UserError(f"--driving {path}: expected the folder of a data set, a video, a .csv or a .json")
