import cv2
import numpy as np
import pytest

from utils.image_headers import read_image_header

IMAGE = np.random.default_rng(0).integers(0, 256, (18, 30, 3), np.uint8)


def write(path, image=IMAGE, *options):
    assert cv2.imwrite(str(path), image, list(options))
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize(("image", "channels"), [(IMAGE, "RGB"), (IMAGE[..., 0], "gray")])
def test_size_and_kind_are_those_that_were_written(tmp_path, name, image, channels):
    assert read_image_header(write(tmp_path / name, image)) == (30, 18, channels, 8)


def test_progressive_jpeg_and_deep_png_are_read(tmp_path):
    jpeg = write(tmp_path / "a.jpg", IMAGE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert read_image_header(jpeg)[:2] == (30, 18)
    assert read_image_header(write(tmp_path / "b.png", IMAGE.astype(np.uint16) * 257)).bits == 16


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_every_truncation_is_found(tmp_path, name):
    data = write(tmp_path / name).read_bytes()
    for length in range(len(data)):
        (tmp_path / name).write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"truncated|damaged|empty|neither"):
            read_image_header(tmp_path / name)


def test_a_changed_byte_of_a_png_is_found(tmp_path):
    path = write(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        read_image_header(path)


def test_a_jpeg_with_bytes_behind_its_end_is_complete(tmp_path):
    path = write(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert read_image_header(path)[:2] == (30, 18)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(ValueError, match="neither JPEG nor PNG"):
        read_image_header(tmp_path / "a.png")
