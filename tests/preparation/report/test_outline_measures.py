"""Distances between the mesh's outline and a matte's, for mattes that are the mesh, grown."""

import cv2
import numpy as np
import pytest

from parametric_head.drawing import draw_mesh
from preparation.geometry.camera import Camera
from preparation.report.outline_measures import OutlineGaps
from tests.parametric_head.small_head import small_head

CAMERA = Camera(1000.0, np.array([128.0, 128.0]))
SIZE = (256, 256)


@pytest.fixture(scope="module")
def vertices():
    """Upright, 5 head units away."""
    return small_head().neutral * [0.029, -0.029, -0.029] + [0, 0, 5]


@pytest.fixture(scope="module")
def matte(vertices):
    """What is drawn of the head's skin."""
    head = small_head()
    parts = [head.part_names.index(name) for name in ("face", "head_neck")]
    triangles = head.triangles[np.isin(head.triangle_part, parts)]
    drawn = draw_mesh(vertices, triangles, CAMERA.focal, CAMERA.center, SIZE)
    return np.where(drawn.triangle >= 0, 255, 0).astype(np.uint8)


def summary(vertices, matte):
    gaps = OutlineGaps(small_head(), CAMERA)
    gaps.add(vertices, matte)
    return gaps.summary()


def test_the_matte_of_the_mesh_itself_is_no_pixel_away(vertices, matte):
    found = summary(vertices, matte)
    assert found["face"]["95_percent_px"] == 0
    assert found["face"]["share"] == 1
    assert found["skull"]["outside_95_percent_px"] == 0


@pytest.mark.parametrize("pixels", [-3, 2])
def test_a_matte_that_is_larger_or_smaller_is_so_many_pixels_away(vertices, matte, pixels):
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(pixels) + 1,) * 2)
    other = (cv2.dilate if pixels > 0 else cv2.erode)(matte, kernel)
    found = summary(vertices, other)
    # Whole pixels.
    assert found["face"]["median_px"] == pytest.approx(abs(pixels), abs=0.5)
    # Only what is outside of the matte is wrong of a skull.
    assert found["skull"]["outside_95_percent_px"] == pytest.approx(max(-pixels, 0), abs=1)


def test_an_outline_far_away_is_not_the_same(vertices, matte):
    kernel = np.ones((31, 31), np.uint8)
    assert "face" not in summary(vertices, cv2.dilate(matte, kernel))


def test_zones_that_are_never_on_an_outline_are_missing(vertices):
    assert summary(vertices - np.array([0, 0, 200]), np.zeros(SIZE, np.uint8)) == {}
