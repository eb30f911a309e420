"""A video that drives an avatar is tracked once, and without what only training needs."""

import sys

import numpy as np
import pytest

from preparation import driver
from utils.errors import UserError
from utils.json_files import write_json
from utils.video import VideoWriter


@pytest.fixture
def steps_taken(monkeypatch):
    """Stand-ins for finding models and taking steps."""
    taken = []

    def take_steps(work, steps):
        taken.append([step.name for step in steps])
        write_json(work.layout.transforms, {"frames": []})

    monkeypatch.setattr(driver, "_trackers", lambda options: object())
    monkeypatch.setattr(driver, "take_steps", take_steps)
    return taken


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "take.mp4"
    with VideoWriter(path) as video:
        for shade in (60, 90):
            video.write(np.full((64, 64, 3), shade, np.uint8))
    return path


def test_a_video_is_tracked_once_without_mattes_parsing_and_torso(film, tmp_path, steps_taken):
    folder = tmp_path / "drivers" / "take"
    assert driver.track_driver(film, folder, quiet=True) == folder
    assert driver.track_driver(film, folder, quiet=True) == folder
    assert steps_taken == [["tracking", "head poses", "head model", "frames", "aligning pixels", "data set"]]
    assert not (folder / ".prepare").exists()


def test_a_video_that_changed_is_tracked_anew(film, tmp_path, steps_taken):
    folder = tmp_path / "take"
    driver.track_driver(film, folder, quiet=True)
    with VideoWriter(film) as video:
        video.write(np.full((64, 64, 3), 200, np.uint8))
    driver.track_driver(film, folder, quiet=True)
    assert len(steps_taken) == 2


def test_without_mediapipe_one_line_says_what_to_install(film, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UserError, match=r"no module named mediapipe: .*pip install") as error:
        driver.track_driver(film, tmp_path / "out", quiet=True)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_what_is_no_video_is_said_before_anything_is_looked_for(tmp_path):
    (tmp_path / "take.bvh").write_text("HIERARCHY")
    with pytest.raises(UserError, match=r"--driving .*take\.bvh: expected the folder of a data set, a video"):
        driver.track_driver(tmp_path / "take.bvh", tmp_path / "out", quiet=True)
