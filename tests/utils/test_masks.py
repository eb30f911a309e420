import numpy as np
import pytest

from utils.masks import dilated, eroded, scaled_radius


def _brute_dilated(mask, radius):
    y, x = np.nonzero(mask)
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]]
    distance = np.hypot(rows[..., None] - y, columns[..., None] - x)
    return distance.min(axis=-1) <= radius


@pytest.mark.parametrize("radius", [0, 1, 1.5, 4, 7.3])
def test_growing_and_shrinking_are_by_euclidean_distance(radius):
    mask = np.random.default_rng(0).random((24, 31)) > 0.97
    assert np.array_equal(dilated(mask, radius), _brute_dilated(mask, radius))
    assert np.array_equal(eroded(~mask, radius), ~_brute_dilated(mask, radius))


def test_nothing_grows_to_nothing_and_the_border_of_the_image_does_not_erode():
    nothing, everything = np.zeros((5, 6), bool), np.ones((5, 6), bool)
    assert not dilated(nothing, 3).any() and not eroded(nothing, 3).any()
    assert dilated(everything, 3).all() and eroded(everything, 3).all()


def test_radii_follow_the_width_of_the_image():
    assert scaled_radius(5, 512) == 5
    assert scaled_radius(5, 128) == 1.25
