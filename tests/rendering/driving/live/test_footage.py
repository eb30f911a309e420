"""Pictures of a video in the place of a camera: in real time, the newest first, nothing in line."""

import time

import numpy as np
import pytest

from rendering.driving.live.footage import Footage
from tests.rendering.driving.live.test_receiver import wait_until
from utils.errors import UserError
from utils.video import VideoWriter

RATE, FRAMES = 25, 10


class Brightness:
    """A face tracker whose jaw opens as the picture brightens; it may be slow, and blind to dark ones."""

    def __init__(self, seconds: float = 0.0, blind_below: float = -1.0) -> None:
        self.seconds, self.blind_below = seconds, blind_below
        self.times, self.is_closed = [], False

    def find(self, frame: np.ndarray, milliseconds: int):
        assert frame.dtype == np.uint8 and frame.shape == (64, 64, 3)
        self.times.append(milliseconds)
        time.sleep(self.seconds)
        value = float(frame.mean()) / 255
        return None if value < self.blind_below else ({"jawOpen": value}, np.eye(3))

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, RATE) as film:
        for number in range(FRAMES):
            film.write(np.full((64, 64, 3), 20 + 20 * number, np.uint8))
    return path


def test_a_video_plays_in_real_time_over_and_over(clip):
    frames, follower = [], Brightness()
    footage = Footage(clip, follower)
    begun = time.monotonic()
    footage.start(frames.append, print)
    wait_until(lambda: len(frames) >= 2.5 * FRAMES)
    elapsed = time.monotonic() - begun
    footage.close()
    assert elapsed > 2.4 * FRAMES / RATE - 0.1
    values = [frame.reading.coefficients["jawOpen"] for frame in frames]
    # It falls where the clip begins again, and only there.
    falls = np.flatnonzero(np.diff(values) < -0.3)
    assert len(falls) == 2 and falls[1] - falls[0] <= FRAMES
    assert follower.is_closed and follower.times == sorted(set(follower.times))


def test_a_slow_tracker_gets_the_newest_picture(clip):
    frames, ages, follower = [], [], Brightness(seconds=0.15)
    footage = Footage(clip, follower)

    def submit(frame):
        frames.append(frame)
        ages.append(frame.stages["capture"])

    footage.start(submit, print)
    wait_until(lambda: len(frames) >= 8)
    footage.close()
    # Three of four are left out, and what is looked at is younger than half of what a picture lasts.
    assert footage.num_left_out >= 10
    assert np.median(ages) < 0.6 / RATE
    assert min(frame.stages["landmarks"] for frame in frames) >= 0.15


def test_pictures_without_a_face_move_nothing(clip):
    frames, footage = [], Footage(clip, Brightness(blind_below=0.5))
    footage.start(frames.append, print)
    wait_until(lambda: footage.num_faceless >= 3 and len(frames) >= 2)
    footage.close()
    assert min(frame.reading.coefficients["jawOpen"] for frame in frames) >= 0.5


def test_what_is_no_video_or_no_camera_is_one_line(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(UserError, match=r"--video .*text\.mp4: expected a video"):
        Footage(text, Brightness())
    with pytest.raises(UserError, match="--webcam 987: no such camera"):
        Footage(987, Brightness())
