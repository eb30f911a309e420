"""The real networks, where mediapipe and the model files (GAUSSIANHEAD_MODELS or the cache) are there."""

import sys
from pathlib import Path

import numpy as np
import pytest

from preparation.models.mediapipe_networks import (
    COEFFICIENT_NAMES,
    MediaPipeFaceTracker,
    MediaPipeSegmenter,
    check_mediapipe,
)
from preparation.models.model_files import FACE_LANDMARKER, SELFIE_SEGMENTATION
from tests.preparation.real_models import local
from utils.errors import UserError
from utils.images import read_png

DEMO = Path(__file__).resolve().parents[3] / "data/demo"


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return read_png(min((DEMO / "ori_imgs").iterdir()))


def test_the_landmarker_finds_one_face_with_its_52_coefficients(frame):
    tracker = MediaPipeFaceTracker(local(FACE_LANDMARKER))
    (face,) = tracker.find(frame)
    assert face.landmarks.shape == (478, 3)
    assert face.landmarks[:, :2].min() > 0 and face.landmarks[:, :2].max() < 1
    assert face.coefficients.shape == (len(tracker.coefficient_names),) == (52,)
    assert tracker.find(np.zeros_like(frame)) == []
    tracker.close()


def test_two_faces_are_seen_as_two(frame):
    tracker = MediaPipeFaceTracker(local(FACE_LANDMARKER))
    assert len(tracker.find(np.concatenate([frame, frame], axis=1))) == 2
    tracker.close()


def test_the_segmenter_finds_the_person(frame):
    segmenter = MediaPipeSegmenter(local(SELFIE_SEGMENTATION))
    classes = segmenter(frame)
    height, width = frame.shape[:2]
    assert classes.shape == (1, height, width)
    assert classes[0, height // 2, width // 2] > 0.9
    assert classes[0, 3, 3] < 0.1
    segmenter.close()


def test_the_coefficients_are_the_arkit_names_with_neutral_first():
    assert len(set(COEFFICIENT_NAMES)) == 52
    assert COEFFICIENT_NAMES[:4] == ("_neutral", "browDownLeft", "browDownRight", "browInnerUp")


def test_without_mediapipe_the_line_that_mends_it_is_said(monkeypatch):
    # Importing it fails.
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-prepare\.txt|apt-get install"):
        check_mediapipe()
