import numpy as np
import pytest
import torch
from PIL import Image

from utils.errors import UserError
from utils.images import (
    NEUTRAL_GREY,
    contact_sheet,
    depth_range,
    depth_to_color,
    error_map,
    from_uint8,
    read_png,
    side_by_side,
    to_uint8,
    with_label,
    write_png,
)


def _flat(height, width, value):
    return np.full((height, width, 3), value, np.uint8)


def test_eight_bits_round_to_nearest_and_clamp():
    values = torch.tensor([[-0.5, 0.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.0, 3.0, float("nan")]])
    assert to_uint8(values).tolist() == [[0, 0, 0, 1, 255, 255, 255, 0]]


def test_eight_bits_survive_the_way_to_floats_and_back():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert np.array_equal(to_uint8(from_uint8(pixels)), pixels)
    assert from_uint8(pixels).shape == (3, 16, 16)


def test_png_holds_the_pixels_in_rgb_order(tmp_path):
    image = torch.rand(3, 5, 7)
    path = tmp_path / "deep" / "00000.png"
    write_png(path, image)
    expected = (image * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(path)), expected)
    assert np.array_equal(read_png(path), expected)


def test_unreadable_png_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.png: cannot be read"):
        read_png(tmp_path / "absent.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"broken\.png: .*neither JPEG nor PNG"):
        read_png(tmp_path / "broken.png")


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_png(tmp_path / "file" / "00000.png", torch.zeros(3, 2, 2))


def test_depth_colour_depends_on_depth_over_alpha_and_fades_to_grey():
    alpha = torch.tensor([[1.0, 0.5, 0.0, 1.0]])
    # The distances are 2, 4, nothing, 4; near is red and far is blue.
    depth = torch.tensor([[2.0, 2.0, 0.0, 4.0]])
    colors = depth_to_color(depth, alpha, limits=(2.0, 4.0)).astype(int)
    near, half, empty, far = colors[0]
    assert near[0] > near[2]
    assert far[2] > far[0]
    assert empty.tolist() == [NEUTRAL_GREY] * 3
    np.testing.assert_allclose(half, (far + NEUTRAL_GREY) / 2, atol=1)


def test_depth_range_spans_what_is_drawn():
    alpha = torch.zeros(20, 20)
    alpha[5:15] = 0.8
    distance = torch.linspace(3, 5, 400).view(20, 20)
    near, far = depth_range(distance * alpha, alpha)
    assert 3.5 <= near < 3.55
    assert 4.45 < far <= 4.5
    assert depth_range(torch.zeros(4, 4), torch.zeros(4, 4)) == (0.0, 1.0)


def test_error_map_is_black_without_error_and_grows_with_it():
    truth = torch.full((3, 1, 3), 0.5)
    image = truth + torch.tensor([0.0, 0.1, 0.4])
    brightness = error_map(image, truth).astype(int).sum(axis=2)[0]
    assert 0 <= brightness[0] < 30
    assert brightness[0] < brightness[1] < brightness[2] == 3 * 255


def test_images_join_from_left_to_right():
    joined = side_by_side([_flat(4, 3, 10), _flat(4, 5, 20)])
    assert joined.shape == (4, 8, 3)
    assert (joined[:, :3] == 10).all() and (joined[:, 3:] == 20).all()
    with pytest.raises(ValueError, match="equal heights"):
        side_by_side([_flat(4, 3, 0), _flat(5, 3, 0)])


def test_label_adds_a_strip_with_text_and_keeps_the_image():
    labelled = with_label(_flat(30, 90, 77), "truth")
    strip = labelled[:-30]
    assert (labelled[-30:] == 77).all()
    assert strip.max() > 150 > 50 > strip.min()


def test_label_that_is_too_long_stays_inside():
    strip = with_label(_flat(30, 160, 77), "render of a view with a long name 27.35 dB")[:-30]
    assert strip.max() > 100
    assert (strip[:, -3:] == strip.min()).all()


def test_contact_sheet_places_every_image_and_shrinks_wide_ones():
    wide, small = _flat(50, 100, 200), _flat(20, 30, 90)
    sheet = contact_sheet([[("a", wide), ("b", small)], [("c", small)]], max_width=50)
    strip = with_label(small, "").shape[0] - 20
    assert sheet.shape == (strip + 25 + 2 + strip + 20, 50 + 2 + 30, 3)
    assert (sheet[strip : strip + 25, :50] == 200).all()
    assert (sheet[strip : strip + 20, 52:] == 90).all()
    assert (sheet[-20:, :30] == 90).all()


def test_a_disk_without_room_leaves_the_picture_that_was_there(tmp_path):
    """A limit on the size of files stops a write in its middle, as a full disk does."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "0.png"
    write_png(path, torch.full((3, 8, 8), 0.5))
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"0\.png: cannot be written: File too large"):
            write_png(path, torch.rand(3, 64, 64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
