import cv2
import numpy as np
import pytest

from preparation.data_set.images_and_arrays import read_image
from preparation.data_set.layout import Layout
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses
from preparation.report.contact_sheet import (
    CELL,
    around_face,
    axes_pixels,
    chosen_rows,
    draw_tracking,
    on_magenta,
    write_contact_sheet,
)
from tests.preparation.conftest import NUM_FRAMES
from tests.preparation.report.tracked_clip import SIZE, tracked_clip

# Of `utils.images.contact_sheet`.
LABEL, GAP = 18, 2


def test_the_sheet_shows_frames_from_the_whole_clip(finished):
    layout, size = Layout(finished.out), 256
    sheet = read_image(layout.report / "contact_sheet.png").astype(int)
    chosen = np.linspace(0, NUM_FRAMES - 1, 8).astype(int).tolist()
    assert sheet.shape == (8 * (size + LABEL) + 7 * GAP, 3 * size + 2 * GAP, 3)
    for row, image_id in enumerate(chosen):
        top = row * (size + LABEL + GAP) + LABEL
        cells = [sheet[top : top + size, i * (size + GAP) :][:, :size] for i in range(3)]
        frame = read_image(layout.image(image_id)).astype(int)
        mask = read_image(layout.mask(image_id), cv2.IMREAD_GRAYSCALE)[..., None] / 255
        # Lines are drawn over a part of the face.
        assert np.median(np.abs(cells[0] - frame)) == 0
        # Rounding takes off up to a grey level.
        assert np.abs(cells[1] - (mask * frame + (1 - mask) * [255, 0, 255])).max() < 1.01
        assert np.abs(cells[2] - (frame + read_image(layout.parsing(image_id))) / 2).max() < 1.01


def test_the_head_model_is_drawn_beside_the_landmarks(tmp_path):
    work = tracked_clip(tmp_path)
    write_contact_sheet(work)
    sheet = read_image(work.layout.report / "contact_sheet.png").astype(int)
    # Landmarks, head model and matte, eight times; the face is shown larger than its picture.
    width = 2 * SIZE + CELL + 2 * GAP
    assert sheet.shape == (8 * (CELL + LABEL) + 7 * GAP, width, 3)
    mesh = sheet[LABEL : LABEL + CELL, SIZE + GAP :][:, :CELL]
    is_drawn = abs(mesh - 90).max(axis=-1) > 10
    assert 0.3 < is_drawn.mean() < 0.95


def test_telling_frames_come_first_and_others_fill_the_sheet():
    assert chosen_rows(100, []) == np.linspace(0, 99, 8).astype(int).tolist()
    # Halfway between those before.
    assert chosen_rows(100, [40, 99, 3]) == [40, 99, 3, 69, 21, 84, 54, 12]
    assert chosen_rows(2, [1, 0]) == [1, 0]


def test_the_square_around_a_face_holds_it_wherever_it_is():
    picture = np.zeros((400, 300, 3), np.uint8)
    picture[350:360, 280:290] = 255
    square = around_face(picture, np.array([[240.0, 300], [299, 399]]))
    assert square.shape == (CELL, CELL, 3)
    # 170 pixels of the picture's lower right corner.
    rows, columns = np.nonzero(square[..., 0] > 128)
    assert rows.mean() * 170 / CELL == pytest.approx(125, abs=2)
    assert columns.mean() * 170 / CELL == pytest.approx(155, abs=2)


def test_magenta_shows_through_where_the_matte_is_open():
    frame, matte = np.full((1, 3, 3), 100, np.uint8), np.array([[0, 51, 255]], np.uint8)
    assert on_magenta(frame, matte).tolist() == [[[255, 0, 255], [224, 20, 224], [100, 100, 100]]]


def test_the_axes_of_an_upright_head_point_right_up_and_at_the_camera():
    poses = Poses(np.diag([1.0, -1, -1])[None], np.array([[0.0, 0, 2.5]]))
    origin, x, y, z = axes_pixels(poses, Camera(1000.0, np.array([300.0, 200.0])))[0]
    assert origin.tolist() == [300, 200]
    assert np.allclose([x, y, z], [[400, 200], [300, 100], [300, 200]])


def test_tracked_landmarks_are_red_and_predicted_ones_green():
    frame = np.zeros((100, 100, 3), np.uint8)
    tracked, predicted = np.full((478, 2), 30.0), np.full((478, 2), 70.0)
    drawn = draw_tracking(frame, tracked, predicted, np.full((4, 2), 5.0))
    assert drawn[30, 30].argmax() == 0 and drawn[70, 70].argmax() == 1
    assert not frame.any()
