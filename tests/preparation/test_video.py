from pathlib import Path

import numpy as np
import pytest

from preparation.video import open_video, read_frames
from tests.preparation.synthetic_head import read_number, write_number
from tests.preparation.videos import ffmpeg
from utils.errors import UserError
from utils.video import VideoWriter

WIDTH, HEIGHT = 160, 96


def numbered(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    frame = np.full((height, width, 3), (200, 40, 40), np.uint8)
    # Left is blue, right is red.
    frame[:, : width // 2] = (40, 40, 200)
    write_number(frame, index)
    return frame


@pytest.fixture
def video(tmp_path) -> Path:
    path = tmp_path / "numbers.mp4"
    with VideoWriter(path, fps=25) as writer:
        for index in range(50):
            writer.write(numbered(index))
    return path


def test_every_frame_comes_in_order(video):
    opened = open_video(video)
    assert (opened.rate, opened.expected_frames) == (25, 50)
    assert [read_number(frame) for frame in read_frames(opened)] == list(range(50))


def test_start_end_and_every(video):
    opened = open_video(video, start=0.4, end=1.2)
    assert opened.expected_frames == 20
    assert [read_number(frame) for frame in read_frames(opened, every=4)] == list(range(10, 30, 4))


def test_a_crop_is_exact_to_the_pixel(video):
    opened = open_video(video)
    whole = next(read_frames(opened))
    part = next(read_frames(opened, crop=(31, 7, 65, 33)))
    assert np.array_equal(part, whole[7:40, 31:96])


def test_large_frames_are_shrunk_and_small_ones_are_not(video):
    opened = open_video(video)
    whole, small = next(read_frames(opened)), next(read_frames(opened, max_side=80))
    averaged = whole.reshape(48, 2, 80, 2, 3).mean(axis=(1, 3))
    # Away from edges, where filters differ: the middles of both halves, below the number.
    for columns in (slice(4, 36), slice(44, 76)):
        assert np.abs(small[12:, columns] - averaged[12:, columns]).max() < 3
    assert small.shape == (48, 80, 3)
    assert np.array_equal(next(read_frames(opened, max_side=1000)), whole)


def test_a_phone_clip_is_turned_upright(video, tmp_path):
    rotated = tmp_path / "rotated.mp4"
    ffmpeg("-display_rotation", "90", "-i", video, "-c", "copy", rotated)
    frame = next(read_frames(open_video(rotated)))
    assert frame.shape == (WIDTH, HEIGHT, 3)
    below, above = frame[-20:, 40:60].mean((0, 1)), frame[30:60, -20:].mean((0, 1))
    # It was turned anticlockwise: left is below.
    assert below[2] > 150 and above[0] > 150


def test_odd_sizes_stay_odd(tmp_path):
    path, raw = tmp_path / "odd.mkv", tmp_path / "odd.rgb"
    written = np.random.default_rng(0).integers(0, 256, (10, 67, 121, 3), dtype=np.uint8)
    raw.write_bytes(written.tobytes())
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", "121x67", "-framerate", "10", "-i", raw)
    ffmpeg(*source, "-c:v", "ffv1", "-pix_fmt", "bgr0", path)
    assert np.array_equal(list(read_frames(open_video(path))), written)


def test_a_variable_rate_becomes_the_average_one(video, tmp_path):
    # Every third frame of the first second is missing.
    variable = tmp_path / "variable.mkv"
    ffmpeg(
        *("-i", video, "-vf", "select='gte(n,25)+not(eq(mod(n,3),1))'", "-fps_mode", "vfr"),
        *("-c:v", "libx264", "-crf", "10", variable),
    )
    opened = open_video(variable)
    numbers = [read_number(frame) for frame in read_frames(opened)]
    assert numbers == sorted(numbers)
    # Two seconds.
    assert abs(len(numbers) - 2 * opened.rate) <= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot read it as a video"), (b"no video at all" * 99, "cannot read it as a video")],
)
def test_files_that_are_no_video_are_refused(tmp_path, content, message):
    path = tmp_path / "no.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_video(path)


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    with pytest.raises(UserError, match="no video stream"):
        open_video(path)


def test_parts_outside_of_the_video_are_refused(video):
    with pytest.raises(UserError, match=r"lasts 2\.00 s"):
        open_video(video, start=5)
    with pytest.raises(UserError, match="--end 1"):
        open_video(video, start=1, end=1)
    with pytest.raises(UserError, match="no such file"):
        open_video(video.with_name("other.mp4"))
    with pytest.raises(UserError, match="is a folder; expected a video"):
        open_video(video.parent)


def test_a_truncated_file_gives_the_frames_it_has(video, tmp_path):
    stream = tmp_path / "cut.ts"
    ffmpeg("-i", video, "-c", "copy", stream)
    stream.write_bytes(stream.read_bytes()[: stream.stat().st_size // 2])
    numbers = [read_number(frame) for frame in read_frames(open_video(stream))]
    assert 1 <= len(numbers) < 50


def as_hlg(video: Path, hdr: Path) -> None:
    """The video as a phone stores it: white at 203 cd/m2, BT.2020, HLG, 10 bits."""
    linear = (
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,zscale=t=linear:npl=203"
    )
    stored = "zscale=p=bt2020:t=arib-std-b67:m=bt2020nc:r=tv:npl=203,format=yuv420p10le"
    tags = ["-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc"]
    encoder = ["-c:v", "libx265", "-x265-params", "log-level=none", "-crf", "12", *tags]
    ffmpeg("-i", video, "-vf", f"{linear},format=gbrpf32le,{stored}", *encoder, hdr)


def test_hdr_is_brought_to_the_colours_of_an_ordinary_video(video, tmp_path, monkeypatch):
    as_hlg(video, tmp_path / "hdr.mov")
    opened = open_video(tmp_path / "hdr.mov")
    assert opened.is_hdr and opened.is_tone_mapped
    plain = next(read_frames(open_video(video))).astype(int)
    error = abs(next(read_frames(opened)).astype(int) - plain).mean()
    monkeypatch.setattr("preparation.video._has_zscale", lambda: False)
    assert not opened.is_tone_mapped
    untouched = abs(next(read_frames(opened)).astype(int) - plain).mean()
    assert error < 5 < untouched


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_frames_are_turned_clockwise(video, rotation):
    frame = next(read_frames(open_video(video)))
    turned = next(read_frames(open_video(video, rotation=rotation)))
    assert abs(turned.astype(int) - np.rot90(frame, -rotation // 90)).max() <= 8
