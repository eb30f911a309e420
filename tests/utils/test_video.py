import os

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
import pytest

from utils.errors import UserError
from utils.video import FfmpegMissing, VideoWriter

shell_only = pytest.mark.skipif(os.name == "nt", reason="the stand-in for ffmpeg is a shell script")


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
    for frame, found in zip(frames, decoded, strict=True):
        padded = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        # Padded by a pixel, not resized to a multiple of 16.
        assert found.shape == padded.shape
        # Errors are of 255. A black edge would cost more than 50.
        error = np.abs(found.astype(int) - padded)
        assert error.mean() < 3
        assert error[-1].mean() < 6 and error[:, -1].mean() < 6
    assert os.listdir(path.parent) == ["video.mp4"]


def test_saturated_colours_are_not_shifted_and_their_matrix_is_named(tmp_path):
    corners = np.array([[[220, 30, 30], [30, 220, 30]], [[30, 30, 220], [200, 200, 30]]], np.uint8)
    frame = corners.repeat(32, axis=0).repeat(32, axis=1)
    with VideoWriter(tmp_path / "video.mp4") as video:
        video.write(frame)
    meta, (decoded,) = _read(tmp_path / "video.mp4")
    # Rounding in YUV costs 4 at most; one matrix taken for another shifts by 20 and more.
    shift = decoded[16::32, 16::32].astype(int) - corners
    assert np.abs(shift).max() <= 4
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


@pytest.fixture
def use_ffmpeg(tmp_path_factory, monkeypatch):
    """Put a shell script in the place of ffmpeg."""

    def use(script):
        path = tmp_path_factory.mktemp("bin") / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))

    return use


def test_ffmpeg_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "absent"))
    writer = VideoWriter(tmp_path / "video.mp4")
    with (
        pytest.raises(FfmpegMissing, match=r"video\.mp4: ffmpeg cannot be started: [^\n]+$"),
        writer as video,
    ):
        video.write(np.zeros((16, 16, 3), np.uint8))
    assert os.listdir(tmp_path) == []


@shell_only
def test_ffmpeg_that_lacks_its_libraries_cannot_be_started(tmp_path, use_ffmpeg):
    use_ffmpeg("exit 127")
    writer = VideoWriter(tmp_path / "video.mp4")
    with pytest.raises(FfmpegMissing, match=r"ffmpeg cannot be started: [^\n]+$"), writer as video:
        video.write(np.zeros((16, 16, 3), np.uint8))


@shell_only
@pytest.mark.parametrize(("size", "reason"), [(16, "it wrote nothing"), (256, "[^\n]*Broken pipe")])
def test_ffmpeg_that_ends_too_early_is_one_line_and_leaves_nothing(tmp_path, use_ffmpeg, size, reason):
    """Small frames wait in the pipe's buffer until the end; large ones find nobody who reads them."""
    use_ffmpeg('[ "$1" = -version ] && echo ffmpeg version 7')
    writer = VideoWriter(tmp_path / "video.mp4")
    with pytest.raises(UserError, match=rf"video\.mp4: ffmpeg failed: {reason}$") as failure, writer as video:
        for _ in range(4):
            video.write(np.zeros((size, size, 3), np.uint8))
    assert not isinstance(failure.value, FfmpegMissing)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_not_taken_for_a_missing_ffmpeg(tmp_path):
    (tmp_path / "file").touch()
    writer = VideoWriter(tmp_path / "file" / "video.mp4")
    with (
        pytest.raises(UserError, match=r"video\.mp4: cannot be written: [^\n]+$") as failure,
        writer as video,
    ):
        video.write(np.zeros((16, 16, 3), np.uint8))
    assert not isinstance(failure.value, FfmpegMissing)


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_exception_of_the_block_stays_what_it_is_also_when_ffmpeg_is_gone(tmp_path, monkeypatch, error):
    class Gone:
        def append_data(self, frame):
            pass

        def close(self):
            raise OSError("ffmpeg is gone")

    monkeypatch.setattr(imageio, "get_writer", lambda *args, **kwargs: Gone())
    with pytest.raises(error), VideoWriter(tmp_path / "video.mp4") as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
        raise error
    assert os.listdir(tmp_path) == []


def test_a_webm_keeps_its_alpha(tmp_path):
    frame = np.zeros((32, 48, 4), np.uint8)
    frame[:, :24] = (200, 100, 50, 255)
    with VideoWriter(tmp_path / "video.webm", fps=10) as video:
        for _ in range(3):
            video.write(frame)
    reader = imageio_ffmpeg.read_frames(
        str(tmp_path / "video.webm"), pix_fmt="rgba", bits_per_pixel=32, input_params=["-c:v", "libvpx-vp9"]
    )
    assert next(reader)["size"] == (48, 32)
    alpha = np.frombuffer(next(reader), np.uint8).reshape(32, 48, 4)[..., 3]
    assert alpha[:, :20].min() > 250 and alpha[:, 28:].max() < 5


@shell_only
def test_an_ffmpeg_without_vp9_is_one_line(tmp_path, use_ffmpeg):
    use_ffmpeg("echo ffmpeg version 7; echo libx264")
    writer = VideoWriter(tmp_path / "video.webm")
    with (
        pytest.raises(FfmpegMissing, match=r"video\.webm: this ffmpeg has no encoder libvpx-vp9$"),
        writer as video,
    ):
        video.write(np.zeros((32, 48, 4), np.uint8))


def test_a_mov_is_prores_4444_with_its_colours_and_alpha(tmp_path):
    frame = np.zeros((32, 48, 4), np.uint8)
    frame[..., :3] = (200, 60, 30)
    frame[..., 3] = np.linspace(0, 255, 48).round()
    with VideoWriter(tmp_path / "video.mov", fps=10) as video:
        for _ in range(3):
            video.write(frame)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "video.mov"), pix_fmt="rgba", bits_per_pixel=32)
    meta = next(reader)
    decoded = [np.frombuffer(data, np.uint8).reshape(32, 48, 4).astype(int) for data in reader]
    assert meta["codec"] == "prores" and meta["fps"] == 10 and len(decoded) == 3
    assert meta["pix_fmt"].startswith("yuva444p")
    # Rounding in YUV of 10 bits, and to 8 bits again; alpha is kept without loss.
    assert np.abs(decoded[0] - frame)[..., :3].max() <= 4
    assert np.abs(decoded[0] - frame)[..., 3].max() <= 1
