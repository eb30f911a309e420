"""Cameras, mattes and pictures that contradict one another are refused; what is right passes."""

import shutil

import cv2
import numpy as np
import pytest

from scene import clip_checks
from scene.dataset import FrameDataset
from scene.dataset_readers import read_clip
from tests.synthetic import edited_json, write_clip
from utils.errors import UserError


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip", num_frames=9)


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "clip")


def change_mattes(root, change, only=None):
    for path in sorted((root / "mask").iterdir(), key=lambda path: int(path.stem)):
        if only is None or path.stem in only:
            cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)))


def change_poses(root, change):
    with edited_json(root) as document:
        for frame in document["frames"]:
            matrix = np.array(frame["transform_matrix"])
            change(matrix)
            frame["transform_matrix"] = matrix.tolist()


def millimetres(matrix):
    matrix[:3, 3] *= 370


def elsewhere(matrix):
    matrix[1, 3] += 1.5


@pytest.mark.parametrize(
    ("change", "only", "words"),
    [
        (lambda m: (m > 127).astype(np.uint8), None, ["1.png: its largest value is 1", "9 of 9"]),
        (lambda m: (38 * (m > 127)).astype(np.uint8), None, ["1.png: its largest value is 38", "9 of 9"]),
        (lambda m: 255 - m, None, ["1.png: person and background are swapped", "9 of 9"]),
        (lambda m: 0 * m, ["3", "7"], ["3.png: all zero", "2 of 9"]),
        (lambda m: m // 3, ["4"], ["4.png: its largest value is 85", "1 of 9"]),
    ],
)
def test_mattes_that_select_nothing_or_the_wrong_thing_are_refused(root, change, only, words):
    change_mattes(root, change, only)
    with pytest.raises(UserError) as error:
        read_clip(root)
    assert all(word in str(error.value) for word in (*words, "--no-check_data")), error.value
    assert len(read_clip(root, check_data=False).frames) == 9


def test_mattes_that_are_255_everywhere_are_a_note(root):
    change_mattes(root, lambda matte: np.full_like(matte, 255))
    assert "255 everywhere" in read_clip(root).notes[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (elsewhere, ["the origin", "in 0 of 9 frames", "of 32 x 24 pixels"]),
        (millimetres, ["the person is ", "expected 0.2 to 5", "millimetres"]),
    ],
)
def test_cameras_that_do_not_see_the_head_are_refused_with_numbers(root, change, words):
    change_poses(root, change)
    with pytest.raises(UserError) as error:
        read_clip(root)
    assert all(word in str(error.value) for word in (*words, "--no-check_data")), error.value


@pytest.mark.parametrize(("key", "value"), [("cx", -5.0), ("cy", 24.0)])
def test_a_principal_point_outside_of_the_pictures_is_refused(root, key, value):
    with edited_json(root) as document:
        document[key] = value
    with pytest.raises(UserError, match=r"the principal point .* lies outside of the pictures"):
        read_clip(root)


def test_a_crop_whose_principal_point_follows_passes(root):
    for folder in ("ori_imgs", "mask", "parsing"):
        for path in (root / folder).iterdir():
            cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[3:, 7:])
    with edited_json(root) as document:
        document |= {"w": 25, "h": 21, "cx": 9.0, "cy": 9.0}
    assert read_clip(root).width == 25


def test_a_long_clip_is_looked_at_in_places_and_the_rest_as_it_is_decoded(root, monkeypatch):
    monkeypatch.setattr(clip_checks, "SHORT_CLIP", 5)
    monkeypatch.setattr(clip_checks, "PLACES", 3)
    change_mattes(root, lambda matte: 0 * matte, only=["4"])
    frames = FrameDataset(read_clip(root), range(9))
    assert frames[2].matte.max() == 1
    with pytest.raises(UserError, match=r"4\.png: all zero"):
        frames[3]
    unchecked = FrameDataset(read_clip(root, check_data=False), range(9))
    assert unchecked[3].matte.max() == 0
