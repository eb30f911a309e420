import numpy as np
import pytest

from preparation.geometry.camera import Camera, Crop, assume_focal, choose_crop, crop_camera, crop_points
from preparation.geometry.rigid import project


def faces(x: float, y: float, height: float, count: int = 50) -> np.ndarray:
    """Landmarks [F, 2, 2]: the corners of faces around (x, y)."""
    corners = np.array([[-0.4, -0.5], [0.4, 0.5]]) * height + np.array([x, y])
    return np.tile(corners, (count, 1, 1))


def test_the_crop_is_a_square_with_head_and_shoulders():
    crop = choose_crop(faces(960, 400, 200), 1920, 1080)
    assert crop.side == pytest.approx(500, abs=2)
    assert crop.x < 960 - 200 and crop.x + crop.side > 960 + 200
    # Hair is in, and shoulders.
    assert crop.y < 400 - 200
    assert crop.y + crop.side > 400 + 280


def test_the_crop_stays_in_the_video():
    # A phone, held close.
    crop = choose_crop(faces(300, 700, 500), 720, 1280)
    assert (crop.x, crop.side) == (0, 720)
    assert 0 <= crop.y <= 1280 - 720


def test_hair_and_chin_come_before_shoulders():
    crop = choose_crop(faces(540, 900, 600), 1080, 1920)
    assert crop.side == 1080
    # Hair is in, shoulders are cut.
    assert crop.y == pytest.approx(900 - 630, abs=1)
    # Here not even the head fits.
    close = choose_crop(faces(270, 450, 430), 540, 900)
    assert close.y <= 450 - 215 and close.y + close.side >= 450 + 215


def test_one_wild_landmark_does_not_move_the_crop():
    steady = faces(960, 400, 200, count=300)
    wild = steady.copy()
    wild[10] += 500
    assert choose_crop(wild, 1920, 1080) == choose_crop(steady, 1920, 1080)


def test_the_camera_of_the_crop_sees_the_crop_of_what_the_camera_sees():
    camera, crop = Camera(1500.0, np.array([960.0, 540.0])), Crop(301, 77, 640)
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3)) + np.array([0, 0, 4])
    cropped = crop_camera(camera, crop, 512)
    whole = project(points, camera.focal, camera.center)
    assert np.allclose(project(points, cropped.focal, cropped.center), crop_points(whole, crop, 512))


@pytest.mark.parametrize(
    ("width", "height", "face", "focal"),
    [(1080, 1920, 500, 1536), (512, 512, 262, 3.5 * 262 / 0.48), (1080, 1920, 900, 3.5 * 900 / 0.48)],
)
def test_a_focal_length_is_assumed_by_the_kind_of_picture(width, height, face, focal):
    found, source = assume_focal(width, height, face)
    assert found == pytest.approx(focal)
    assert source.startswith("assumed")
