import cv2
import numpy as np
import pytest

from preparation.segmentation.guided_filter import refine
from preparation.segmentation.matting import flicker, mattes

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
    # Too large and too soft.
    coarse = cv2.GaussianBlur(disc(62).astype(np.float32), (0, 0), 3)
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
    assert all(np.array_equal(one.coarse, matte) for one, matte in zip(found, wobble, strict=True))
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
