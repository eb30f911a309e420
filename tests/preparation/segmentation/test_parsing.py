import cv2
import numpy as np
import pytest

from preparation.geometry.landmark_names import JAW
from preparation.segmentation.parsing import (
    BACKGROUND,
    HEAD,
    NECK,
    TORSO,
    ColorParser,
    above_jaw,
    parse_classes,
)
from tests.preparation.synthetic_head import camera, moving_poses, observe

SIZE = 256


@pytest.fixture
def person():
    """A picture with hair that hangs down to the left of a face, its matte, its landmarks."""
    landmarks = observe(moving_poses(1, degrees=0), camera(SIZE))[0, :, :2]
    image = np.full((SIZE, SIZE, 3), (60, 90, 70), np.uint8)
    cv2.rectangle(image, (40, 205), (216, SIZE), (30, 40, 160), -1)  # a blue coat
    cv2.rectangle(image, (105, 150), (150, 210), (205, 150, 120), -1)  # neck
    cv2.ellipse(image, (128, 110), (62, 75), 0, 0, 360, (90, 50, 20), -1)  # hair
    cv2.rectangle(image, (64, 110), (84, 230), (90, 50, 20), -1)  # that hangs
    cv2.fillPoly(image, [cv2.convexHull(landmarks.round().astype(np.int32))], (210, 155, 125))
    matte = (np.abs(image.astype(int) - (60, 90, 70)).max(axis=-1) > 10).astype(np.float32)
    return image, matte, landmarks


def test_hair_that_hangs_down_is_head_and_the_coat_is_not(person):
    image, matte, landmarks = person
    parser = ColorParser()
    parser.learn(image, matte, landmarks)
    parsing = parser(image, matte, landmarks)
    assert tuple(parsing[110, 128]) == HEAD  # face
    assert tuple(parsing[45, 128]) == HEAD  # hair above
    assert tuple(parsing[215, 72]) == HEAD  # hair below the jaw
    assert tuple(parsing[195, 125]) == NECK
    assert tuple(parsing[240, 180]) == TORSO
    assert tuple(parsing[20, 20]) == BACKGROUND
    assert set(map(tuple, parsing.reshape(-1, 3))) <= {HEAD, NECK, TORSO, BACKGROUND}


def test_shadow_below_the_chin_is_neck_and_no_cloth(person):
    image, matte, landmarks = person
    parser = ColorParser()
    parser.learn(image, matte, landmarks)
    shaded, chin = image.copy(), int(landmarks[JAW][:, 1].max())
    cv2.rectangle(shaded, (118, chin), (138, chin + 5), (70, 35, 45), -1)
    parsing = parser(shaded, matte, landmarks)
    assert (parsing[chin + 2 : chin + 5, 119:138] == NECK).all()
    assert tuple(parsing[240, 180]) == TORSO


def test_the_jaw_line_parts_face_from_neck(person):
    _, matte, landmarks = person
    above = above_jaw(landmarks, matte.shape)
    chin = landmarks[JAW][:, 1].max()
    x = round(landmarks[152, 0])
    assert above[int(chin) - 3, x] and not above[int(chin) + 3, x]


def test_a_network_with_classes_decides_where_there_is_one(person):
    _, matte, landmarks = person
    classes = np.zeros((6, SIZE, SIZE), np.float32)
    for index, rows in enumerate([(0, 10), (10, 60), (170, 210), (60, 150), (210, 256), (150, 170)]):
        classes[index, slice(*rows)] = 1
    parsing = parse_classes(classes, np.ones_like(matte), landmarks)
    expected = {30: HEAD, 100: HEAD, 190: NECK, 230: TORSO}
    assert {row: tuple(parsing[row, 128]) for row in expected} == expected


def test_long_hair_is_head_by_the_networks_labels_too(person):
    _, matte, landmarks = person
    chin = int(landmarks[JAW][:, 1].max())
    kinds = np.full((SIZE, SIZE), 4)  # clothes
    kinds[chin : chin + 30, 100:156] = 2  # neck
    kinds[:chin, 90:166] = 3  # face
    kinds[:40] = kinds[:250, 60:90] = kinds[:250, 166:196] = 1  # hair down to the chest, on both sides
    kinds[chin + 5 : chin + 9, 120:136] = 5  # a necklace
    kinds[:10] = kinds[:, :20] = 0
    classes = np.eye(6, dtype=np.float32)[kinds].transpose(2, 0, 1)
    matte = (kinds > 0).astype(np.float32)
    parsing = parse_classes(classes, matte, landmarks)
    for x in (75, 180):
        assert (parsing[10:250, x] == HEAD).all(), "hair above and below the jaw"
        assert tuple(parsing[252, x]) == TORSO
    assert tuple(parsing[chin + 20, 128]) == NECK
    assert tuple(parsing[chin + 7, 128]) == TORSO  # the necklace is not head
    assert tuple(parsing[245, 128]) == TORSO
    assert tuple(parsing[128, 10]) == BACKGROUND
