"""PNG files against four other decoders: Pillow's, OpenCV's, ffmpeg's and a browser's."""

import base64
import io
import subprocess
import zlib

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from utils import png
from utils.image_headers import read_image_header
from utils.png import png_bytes

SHAPES = [(1, 1), (37, 53), (1, 9, 3), (64, 40, 3), (41, 1, 3), (29, 31, 4)]
# What a browser draws from the file in `source`, as numbers 0 to 255, RGBA.
DECODED = """async source => {
    const image = new Image();
    image.src = source;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    return [...canvas.getImageData(0, 0, image.width, image.height).data];
}"""


@pytest.fixture(params=["igzip", "zlib"], autouse=True)
def library(request, monkeypatch):
    """Both ways to deflate."""
    if request.param == "zlib":
        monkeypatch.setattr(png, "deflate", zlib)
    else:
        pytest.importorskip("isal")
    return request.param


def pictures():
    """Smooth, flat and noisy in turns: what a filter and its wrapping around 256 can get wrong."""
    random = np.random.default_rng(4)
    for number, shape in enumerate(SHAPES * 3):
        noise = random.integers(0, 256, shape)
        smooth = np.add.outer(5 * np.arange(shape[0]), 3 * np.arange(shape[1]))
        smooth = smooth.reshape(*smooth.shape, *[1] * (len(shape) - 2))
        yield np.stack([noise, smooth + noise // 64, np.full(shape, 200)])[number // len(SHAPES)].astype(
            np.uint8
        )


def test_pillow_and_opencv_read_the_same_pixels():
    for pixels in pictures():
        data = png_bytes(pixels)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        orders = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
        assert np.array_equal(
            decoded if pixels.ndim == 2 else cv2.cvtColor(decoded, orders[pixels.shape[2]]), pixels
        )


def test_ffmpeg_reads_the_same_pixels():
    pixels = next(picture for picture in pictures() if picture.shape == (64, 40, 3))
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        *["-v", "error", "-f", "png_pipe", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
    ]
    done = subprocess.run(command, input=png_bytes(pixels), capture_output=True, check=True)
    assert (
        np.array_equal(np.frombuffer(done.stdout, np.uint8).reshape(pixels.shape), pixels) and not done.stderr
    )


@pytest.mark.browser
def test_a_browser_reads_the_same_pixels(browser):
    pixels = next(picture for picture in pictures() if picture.shape == (64, 40, 3))
    page = browser.new_page()
    found = page.evaluate(DECODED, "data:image/png;base64," + base64.b64encode(png_bytes(pixels)).decode())
    page.close()
    assert np.array_equal(np.array(found, np.uint8).reshape(64, 40, 4)[..., :3], pixels)


def test_checksums_and_header_hold(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(np.zeros((12, 34, 4), np.uint8)))
    assert read_image_header(path) == (34, 12, "RGBA", 8)


def test_a_part_of_a_larger_picture_is_written_as_it_looks():
    whole = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    part = whole[3:20, 5:17, ::-1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(part)))), part)


def test_smooth_pictures_take_less_than_opencv_needs():
    smooth = np.add.outer(np.arange(256) // 3, np.arange(256) // 2)
    pixels = np.stack([smooth, smooth // 2, 255 - smooth // 3], axis=-1).astype(np.uint8)
    assert len(png_bytes(pixels)) < len(cv2.imencode(".png", pixels)[1])


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (0, 4, 3), (1, 4, 4, 3)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match="expected 8 bits"):
        png_bytes(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float32"):
        png_bytes(np.zeros((4, 4), np.float32))
