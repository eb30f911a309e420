import os

import imageio_ffmpeg
import numpy as np
import pytest

from utils.errors import UserError
from utils.video import VideoWriter


def _frames(num, height, width):
    """A smooth coloured picture that moves; smooth, since 4:2:0 keeps a quarter of the colour samples."""
    y, x = np.mgrid[:height, :width]
    for i in range(num):
        waves = [np.sin(x / 19 + i / 3), np.cos(y / 23), np.sin((x + y) / 31 - i / 5)]
        yield np.stack([128 + 80 * wave for wave in waves], axis=-1).astype(np.uint8)


def _read(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    return meta, [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader]


@pytest.mark.parametrize(("height", "width"), [(64, 96), (51, 75)])
def test_video_holds_every_frame_in_its_size_and_colours(tmp_path, height, width):
    path = tmp_path / "deep" / "video.mp4"
    frames = list(_frames(12, height, width))
    with VideoWriter(path, fps=20) as video:
        for frame in frames:
            video.write(frame)
    meta, decoded = _read(path)
    assert meta["codec"] == "h264"
    assert meta["fps"] == 20
    assert len(decoded) == 12
    assert decoded[0].shape == (height + height % 2, width + width % 2, 3)  # padded, not resized to 16
    for frame, found in zip(frames, decoded, strict=True):
        padded = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        error = np.abs(found.astype(int) - padded)
        assert error.mean() < 3  # of 255
        assert error[-1].mean() < 6 and error[:, -1].mean() < 6  # a black edge would cost more than 50
    assert os.listdir(path.parent) == ["video.mp4"]


def test_saturated_colours_are_not_shifted_and_their_matrix_is_named(tmp_path):
    corners = np.array([[[220, 30, 30], [30, 220, 30]], [[30, 30, 220], [200, 200, 30]]], np.uint8)
    frame = corners.repeat(32, axis=0).repeat(32, axis=1)
    with VideoWriter(tmp_path / "video.mp4") as video:
        video.write(frame)
    meta, (decoded,) = _read(tmp_path / "video.mp4")
    shift = decoded[16::32, 16::32].astype(int) - corners
    assert np.abs(shift).max() <= 4  # rounding in YUV; one matrix taken for another shifts by 20 and more
    assert meta["pix_fmt"].startswith("yuv420p(tv, bt709")


def test_index_stands_before_the_data(tmp_path):
    with VideoWriter(tmp_path / "video.mp4") as video:
        for frame in _frames(2, 16, 16):
            video.write(frame)
    data = (tmp_path / "video.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_interrupted_video_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "video.mp4") as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_video_without_frames_makes_no_file(tmp_path):
    with VideoWriter(tmp_path / "video.mp4"):
        pass
    assert os.listdir(tmp_path) == []


def test_frame_of_another_size_is_refused(tmp_path):
    with VideoWriter(tmp_path / "video.mp4") as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(ValueError, match=r"\[16, 16, 3\] as before, got \[16, 18, 3\]"):
            video.write(np.zeros((16, 18, 3), np.uint8))


def test_ffmpeg_that_cannot_run_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "absent"))
    writer = VideoWriter(tmp_path / "video.mp4")
    with pytest.raises(UserError, match=r"video\.mp4: ffmpeg cannot be started: [^\n]+$"), writer as video:
        video.write(np.zeros((16, 16, 3), np.uint8))


def test_an_interrupt_that_ended_ffmpeg_too_stays_an_interrupt(tmp_path, monkeypatch):
    class Gone:
        def send(self, frame):
            pass

        def close(self):
            raise BrokenPipeError

    monkeypatch.setattr(imageio_ffmpeg, "write_frames", lambda *args, **kwargs: Gone())
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "video.mp4") as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
        raise KeyboardInterrupt
