"""Turned pictures, with a detector that finds upright faces only, as detectors do."""

import numpy as np
import pytest

from preparation.geometry.landmark_names import CHIN, FOREHEAD_TOP
from preparation.tracking.landmarks import Face
from preparation.tracking.upright import turn_needed

UPRIGHT = np.zeros((60, 40, 3), np.uint8)
UPRIGHT[:10] = 255


class Detector:
    """Sees a face where the top of the picture is bright; `finds_any` also one that stands on its head."""

    coefficient_names = ()

    def __init__(self, finds_any: bool = False) -> None:
        self.finds_any, self.is_closed = finds_any, False

    def find(self, frame: np.ndarray) -> list[Face]:
        landmarks = np.full((478, 3), 0.5, np.float32)
        landmarks[FOREHEAD_TOP, 1], landmarks[CHIN, 1] = 0.2, 0.8
        if frame[0].min() == 255:
            return [Face(landmarks, np.zeros(0, np.float32))]
        if self.finds_any and frame[-1].min() == 255:
            landmarks[FOREHEAD_TOP, 1], landmarks[CHIN, 1] = 0.8, 0.2
            return [Face(landmarks, np.zeros(0, np.float32))]
        return []

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("finds_any", [False, True])
def test_the_turn_that_brings_faces_upright_is_found(turn, finds_any):
    detector = Detector(finds_any)
    # Counter-clockwise, so that a clockwise turn mends it.
    stored = np.rot90(UPRIGHT, turn // 90)
    assert turn_needed([stored] * 5, lambda: detector) == turn
    assert detector.is_closed


def test_without_a_face_in_any_turn_none_is_proposed():
    assert turn_needed([np.zeros_like(UPRIGHT)] * 5, Detector) == 0


def test_a_few_turned_frames_are_not_the_clip():
    frames = [UPRIGHT] * 5 + [np.rot90(UPRIGHT)] * 3
    assert turn_needed(frames, Detector) == 0
