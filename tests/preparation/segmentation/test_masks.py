import cv2
import numpy as np
import pytest

from preparation.data_set.images_and_arrays import read_image, write_image
from preparation.data_set.layout import Layout
from preparation.models.chosen_networks import Networks
from preparation.segmentation.masks import write_masks
from preparation.segmentation.parsing import BACKGROUND, HEAD, NECK
from tests.preparation.synthetic_head import camera, moving_poses, observe

SIZE, IDS = 256, np.array([0, 1, 2, 5])
PIXELS = np.tile(observe(moving_poses(1, degrees=0), camera(SIZE))[:, :, :2], (len(IDS), 1, 1))


def left_half(frame: np.ndarray) -> np.ndarray:
    """A matting network that takes the left half for the person."""
    matte = np.zeros((1, *frame.shape[:2]), np.float32)
    matte[:, :, : frame.shape[1] // 2] = 1
    return matte


def classes(frame: np.ndarray) -> np.ndarray:
    """A parsing network: the left half is skin of the face above and of the body below."""
    found = np.zeros((6, *frame.shape[:2]), np.float32)
    found[0, :, SIZE // 2 :] = 1
    found[3, : SIZE // 2, : SIZE // 2] = found[2, SIZE // 2 :, : SIZE // 2] = 1
    return found


@pytest.fixture
def layout(tmp_path) -> Layout:
    layout = Layout(tmp_path)
    frame = np.full((SIZE, SIZE, 3), (60, 90, 70), np.uint8)
    frame[:, : SIZE // 2] = (200, 150, 120)
    for image_id in IDS.tolist():
        write_image(layout.image(image_id), frame)
    return layout


def test_masks_and_maps_are_those_of_the_networks(layout):
    networks = Networks(face_tracker=None, matting=lambda: left_half, classes=lambda: classes)
    flicker = write_masks(layout, IDS, PIXELS, networks, quiet=True)
    # Nothing moves; the edge alone is refined.
    assert flicker["before"] == 0 and flicker["after"] < 0.1
    for image_id in IDS.tolist():
        mask = read_image(layout.mask(image_id), cv2.IMREAD_GRAYSCALE)
        assert mask[:, :120].min() > 250 and mask[:, 136:].max() < 5
        parsing = read_image(layout.parsing(image_id))
        assert (parsing[:120, :120] == HEAD).all() and (parsing[136:, :120] == NECK).all()
        assert (parsing[:, 140:] == BACKGROUND).all()


def test_what_is_there_stays_and_what_is_missing_is_as_in_one_run(layout):
    networks = Networks(face_tracker=None, matting=lambda: left_half)
    write_masks(layout, IDS, PIXELS, networks, quiet=True)
    whole = {path: path.read_bytes() for path in layout.root.rglob("*.png")}
    assert len(whole) == 2 * len(IDS)
    assert write_masks(layout, IDS, PIXELS, networks, quiet=True) is None
    layout.mask(5).unlink()
    layout.mask(0).write_bytes(b"finished")
    write_masks(layout, IDS, PIXELS, networks, quiet=True)
    assert layout.mask(0).read_bytes() == b"finished"
    assert layout.mask(5).read_bytes() == whole[layout.mask(5)]


def test_maps_are_left_out_where_they_are_not_wanted(layout):
    networks = Networks(face_tracker=None, matting=lambda: left_half)
    write_masks(layout, IDS, PIXELS, networks, wants_parsing=False, quiet=True)
    assert not layout.parsing(0).parent.exists()
    assert layout.mask(5).exists()
