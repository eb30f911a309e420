import sys
import types

import cv2
import numpy as np
import pytest

from preparation.face_points import JAW
from preparation.matting import OnnxMatting, flicker, mattes, refine
from preparation.parsing import BACKGROUND, HEAD, NECK, TORSO, ColorParser, above_jaw, parse_classes
from tests.preparation.synthetic_head import camera, moving_poses, observe
from utils.errors import UserError

SIZE = 256


def disc(radius: float = 60.0) -> np.ndarray:  # [H, W] bool
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.hypot(x - 128, y - 128) < radius


def picture(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    pixels = np.where(mask[..., None], (200, 150, 120), (40, 60, 90)).astype(np.float32)
    pixels += np.random.default_rng(seed).normal(scale=2, size=pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


def test_the_guided_filter_moves_the_edge_to_where_the_picture_has_one():
    coarse = cv2.GaussianBlur(disc(62).astype(np.float32), (0, 0), 3)  # too large and too soft
    fine = refine(coarse, picture(disc()))
    assert iou(fine > 0.5, disc()) > iou(coarse > 0.5, disc())
    assert iou(fine > 0.5, disc()) > 0.98
    assert fine[128, 128] == pytest.approx(1, abs=0.01)
    assert fine[5, 5] == 0
    assert fine.min() >= 0 and fine.max() <= 1


def test_mattes_come_in_order_and_steadier():
    random = np.random.default_rng(0)
    wobble = [disc(60 + random.normal(scale=3)).astype(np.float32) for _ in range(12)]
    frames = [picture(disc(), seed) for seed in range(12)]
    by_frame = {frame.tobytes(): matte for frame, matte in zip(frames, wobble, strict=True)}

    def network(frame: np.ndarray) -> np.ndarray:
        return by_frame[frame.tobytes()][None]

    found = list(mattes(frames, [network, network]))
    assert [np.array_equal(coarse, matte) for (_, _, coarse), matte in zip(found, wobble, strict=True)] == [
        True
    ] * 12
    raw = np.mean([flicker(*wobble[i : i + 3]) for i in range(10)])
    steady = np.mean([flicker(*(found[i + j].matte for j in range(3))) for i in range(10)])
    assert steady < 0.5 * raw


def test_a_matte_does_not_trail_behind_what_moves():
    masks = [np.roll(disc(30), 40 * i, axis=1) for i in range(3)]
    frames = [picture(mask) for mask in masks]
    by_frame = {frame.tobytes(): mask for frame, mask in zip(frames, masks, strict=True)}
    found = list(mattes(frames, [lambda frame: by_frame[frame.tobytes()].astype(np.float32)[None]]))
    assert iou(found[1].matte > 0.5, masks[1]) > 0.97


def test_flicker_is_zero_for_what_changes_evenly():
    ramp = np.full((8, 8), 0.5)
    assert flicker(ramp - 0.1, ramp, ramp + 0.1) == pytest.approx(0)


def test_onnx_matting_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace())
    with pytest.raises(UserError, match=r"--matting .*none\.onnx: no such file"):
        OnnxMatting(tmp_path / "none.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # importing it fails
    with pytest.raises(UserError, match="pip install onnxruntime"):
        OnnxMatting(tmp_path / "none.onnx")


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
