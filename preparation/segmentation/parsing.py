"""Parsing maps: what of the person is head (hair, face, ears), neck, torso.

With the classes of a network that knows hair, skin and clothes where there is one. Else by the tracked jaw
line: above it is head, below it neck where the colour is skin's, torso where it is not, and head again where
hair hangs down: pixels in the colour of the hair that are connected with the hair above.
"""

import cv2
import numpy as np

from preparation.geometry.landmark_names import JAW, LIPS, OUTLINE
from preparation.segmentation.learned_colors import LearnedColors

# RGB.
HEAD, NECK, TORSO, BACKGROUND = (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)
HAIR_CLASS, BODY_SKIN_CLASS, FACE_SKIN_CLASS, CLOTHES_CLASS, OTHER_CLASS = 1, 2, 3, 4, 5
# The classes of the multiclass model, background first.
NUM_CLASSES = 6
# A colour is hair where at least this share of its pixels is hair's.
_SURE = 0.7


def parse_classes(classes: np.ndarray, matte: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Paint a map [H, W, 3] by class confidences [6, H, W], matte [H, W], landmarks [478, 2] in pixels.

    Accessories (glasses, hats, headphones) are head where they lie above the jaw line.
    """
    assert len(classes) == NUM_CLASSES, f"parsing network: expected {NUM_CLASSES} classes, got {len(classes)}"
    kind = 1 + classes[1:].argmax(axis=0)
    above = above_jaw(landmarks, matte.shape)
    is_head = (kind == HAIR_CLASS) | (kind == FACE_SKIN_CLASS) | ((kind == OTHER_CLASS) & above)
    return paint(matte, is_head, kind == BODY_SKIN_CLASS)


class ColorParser:
    """Parses by the jaw line and by colours that it has learned from some frames of the clip."""

    def __init__(self) -> None:
        self._colors = LearnedColors()

    def learn(self, frame: np.ndarray, matte: np.ndarray, landmarks: np.ndarray) -> None:
        """Count a frame's colours [H, W, 3] uint8: hair above the forehead, skin in the face, clothes low."""
        solid = cv2.erode((matte > 0.9).astype(np.uint8), np.ones((5, 5))) > 0
        face = _fill(landmarks[OUTLINE], matte.shape)
        top = landmarks[OUTLINE, 1].min()
        rows = np.arange(matte.shape[0])[:, None]
        height = np.ptp(landmarks[OUTLINE, 1])
        chin = landmarks[OUTLINE, 1].max()
        regions = {
            "hair": solid & ~face & (rows < top + 0.1 * height),
            "skin": solid & face,
            "clothes": solid & (rows > chin + 0.35 * height),
        }
        self._colors.learn(frame, regions)

    def __call__(self, frame: np.ndarray, matte: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Paint the map [H, W, 3] of a frame."""
        hair, skin = self._colors.posteriors(frame, ("hair", "skin"))
        above = above_jaw(landmarks, matte.shape)
        is_solid = matte > 0.5
        is_hair = is_solid & ~_fill(landmarks[OUTLINE], matte.shape) & (hair > _SURE)
        is_hair = cv2.morphologyEx(is_hair.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        hanging = connected(is_hair > 0, above & (is_hair > 0)) & ~above
        is_skin = cv2.morphologyEx((skin > 0.5).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        is_neck = connected((is_skin > 0) & is_solid, above & is_solid) & ~above & ~hanging
        # Clothes reach the picture's edge; what does not is skin in the chin's shadow.
        is_rest = is_solid & ~above & ~hanging & ~is_neck
        is_neck |= is_rest & ~connected(is_rest, picture_edge(is_rest.shape))
        return paint(matte, above | hanging, is_neck)


def above_jaw(landmarks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:  # [H, W] bool
    """Pixels above the line that runs along the jaw, and at the mouth's height to its left and right."""
    jaw, mouth = landmarks[JAW], landmarks[LIPS, 1].mean()
    jaw = jaw[jaw[:, 1] > mouth]
    jaw = jaw[np.argsort(jaw[:, 0])]
    line = np.interp(np.arange(shape[1]) + 0.5, jaw[:, 0], jaw[:, 1], left=mouth, right=mouth)
    return np.arange(shape[0])[:, None] + 0.5 < line


def paint(matte: np.ndarray, is_head: np.ndarray, is_neck: np.ndarray) -> np.ndarray:
    """Colour a map [H, W, 3] uint8 RGB."""
    kind = np.where(is_head, np.uint8(2), is_neck.astype(np.uint8))
    kind[matte < 0.02] = 3
    return np.take(np.array([TORSO, NECK, HEAD, BACKGROUND], np.uint8), kind, axis=0)


def _fill(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [polygon[:, :2].round().astype(np.int32)], 1)
    return mask > 0


def picture_edge(shape: tuple[int, int]) -> np.ndarray:
    """The lower edge and both sides of a picture."""
    edge = np.ones(shape, bool)
    edge[:-1, 1:-1] = False
    return edge


def connected(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The components of a mask that hold a seed."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8))
    chosen = np.zeros(labels.max() + 1, bool)
    chosen[labels[seeds & mask]] = True
    chosen[0] = False
    return chosen[labels]
