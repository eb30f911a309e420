"""Drawing a mesh, against a loop over pixels and triangles that is slow and plain."""

import numpy as np
import pytest

from parametric_head.drawing import draw_depth, draw_mesh, interpolate
from preparation.geometry.rigid import project

FOCAL, CENTER, SIZE = 40.0, np.array([16.3, 11.8]), (33, 24)


def by_hand(points: np.ndarray, triangles: np.ndarray, near: float = 1e-3):
    """Depth, triangle and weights of each pixel: the ray of its centre meets each triangle's plane."""
    depth = np.full(SIZE[::-1], np.inf)
    triangle = np.full(SIZE[::-1], -1)
    weights = np.zeros((*SIZE[::-1], 3))
    for row in range(SIZE[1]):
        for column in range(SIZE[0]):
            ray = np.array([*((np.array([column, row]) + 0.5 - CENTER) / FOCAL), 1.0])
            for number, corners in enumerate(points[triangles]):
                if (corners[:, 2] <= near).any() or abs(np.linalg.det(corners)) < 1e-12:
                    continue
                # ray x depth = weights @ corners, weights of sum one.
                solved = np.linalg.solve(corners.T, ray)
                if solved.sum() > 0 and (solved >= -1e-9).all() and 1 / solved.sum() < depth[row, column]:
                    depth[row, column] = 1 / solved.sum()
                    triangle[row, column] = number
                    weights[row, column] = solved / solved.sum()
    return depth, triangle, weights


def random_mesh(seed: int, num_triangles: int, reach: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of their own corners, around places in front of the camera."""
    rng = np.random.default_rng(seed)
    places = rng.uniform([-reach, -reach, 2.0], [reach, reach, 4.0], (num_triangles, 1, 3))
    points = places + rng.normal(0, spread, (num_triangles, 3, 3))
    return points.reshape(-1, 3), np.arange(3 * num_triangles).reshape(-1, 3)


def grid(num: int) -> tuple[np.ndarray, np.ndarray]:
    """A bumpy sheet that covers more than the picture."""
    x, y = np.meshgrid(np.linspace(-2, 2, num), np.linspace(-2, 2, num))
    points = np.stack([x, y, 3 + 0.1 * np.sin(3 * x) * np.cos(2 * y)], axis=-1).reshape(-1, 3)
    corner = (np.arange(num - 1)[:, None] * num + np.arange(num - 1)).reshape(-1, 1)
    return points, np.concatenate([corner + np.array(way) for way in ([0, 1, num], [1, num + 1, num])])


def draw(points: np.ndarray, triangles: np.ndarray, **options):
    return draw_mesh(points, triangles, FOCAL, CENTER, SIZE, **options)


# Small and large triangles; many of them reach over the picture's border, and hide one another.
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_triangles, reach, spread", [(40, 1.2, 0.1), (12, 1.0, 0.8), (60, 3.0, 0.5)])
def test_draws_what_rays_meet_first(seed, num_triangles, reach, spread):
    points, triangles = random_mesh(seed, num_triangles, reach, spread)
    depth, triangle, weights = by_hand(points, triangles)
    drawn = draw(points, triangles)
    assert (triangle >= 0).any()
    np.testing.assert_array_equal(drawn.triangle, triangle)
    # Stored in single precision.
    np.testing.assert_allclose(drawn.depth, depth, rtol=1e-6)
    np.testing.assert_allclose(drawn.barycentric, weights, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_depth_alone_is_the_same(seed):
    points, triangles = random_mesh(seed, 40, 1.5, 0.6)
    depth = draw_depth(points, triangles, FOCAL, CENTER, SIZE)
    assert depth.dtype == np.float32 and np.isinf(depth).any()
    # The last bit may differ: it is rounded before or after the corners' weights are summed.
    np.testing.assert_allclose(depth, draw(points, triangles).depth, rtol=2e-7)


def test_sheet_has_no_holes():
    points, triangles = grid(30)
    assert (draw(points, triangles).triangle >= 0).all()


def test_edge_through_pixel_centers_has_no_holes_and_belongs_to_one_triangle():
    # Corners on pixel centres: every edge, the diagonal too, runs through centres.
    pixels = np.array([[4.5, 3.5], [20.5, 3.5], [20.5, 19.5], [4.5, 19.5]])
    points = np.concatenate([(pixels - CENTER) / FOCAL, np.ones((4, 1))], axis=1) * 2.0
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    drawn = draw(points, triangles)
    assert (drawn.triangle[3:20, 4:21] >= 0).all()
    assert (drawn.triangle >= 0).sum() == 17 * 17
    alone = [(draw(points, triangle[None]).triangle >= 0).sum() for triangle in triangles]
    # The diagonal's 17 pixels are in both, and are drawn once.
    assert sum(alone) == 17 * 17 + 17


def test_both_faces_are_drawn():
    points, triangles = grid(6)
    np.testing.assert_array_equal(draw(points, triangles).depth, draw(points, triangles[:, ::-1]).depth)


def test_nearer_sheet_hides_the_farther_whatever_the_order():
    points, triangles = grid(8)
    both = np.concatenate([points, points + np.array([0.0, 0.0, 1.0])])
    behind = triangles + len(points)
    alone = draw(points, triangles)
    for ordered in (np.concatenate([triangles, behind]), np.concatenate([behind, triangles])):
        np.testing.assert_array_equal(draw(both, ordered).depth, alone.depth)


@pytest.mark.parametrize("depth", [-2.0, 0.0, 5e-4])
def test_triangles_that_reach_behind_the_camera_are_left_out(depth):
    points = np.array([[-1.0, -1.0, 2.0], [1.0, -1.0, 2.0], [0.0, 1.0, depth]])
    drawn = draw(points, np.array([[0, 1, 2]]))
    assert (drawn.triangle == -1).all() and np.isinf(drawn.depth).all()


def test_near_leaves_out_what_is_nearer():
    points, triangles = grid(4)
    assert (draw(points, triangles, near=4.0).triangle == -1).all()


def test_flat_triangle_and_empty_mesh_draw_nothing():
    line = np.array([[-1.0, 0.0, 2.0], [0.0, 0.0, 2.0], [1.0, 0.0, 2.0]])
    assert (draw(line, np.array([[0, 1, 2]])).triangle == -1).all()
    assert (draw(line, np.zeros((0, 3), int)).triangle == -1).all()


def test_interpolated_points_project_to_pixel_centers():
    # Holds for perspective-correct weights only: corners lie at depths that differ by the factor 4.
    points = np.array([[-0.5, -0.4, 1.0], [2.0, -1.0, 4.0], [0.0, 1.5, 3.0]])
    drawn = draw(points, np.array([[0, 1, 2]]))
    places = interpolate(drawn, np.array([[0, 1, 2]]), points)
    rows, columns = np.nonzero(drawn.triangle >= 0)
    assert len(rows) > 50
    found = project(places[rows, columns].astype(np.float64), FOCAL, CENTER)
    # Single precision of values up to 4 at 40 pixels per unit.
    np.testing.assert_allclose(found, np.stack([columns, rows], axis=1) + 0.5, atol=1e-4)
    np.testing.assert_allclose(places[rows, columns, 2], drawn.depth[rows, columns], rtol=1e-5)


def test_interpolation_is_zero_where_nothing_is_seen():
    points, triangles = random_mesh(0, 3, 0.5, 0.2)
    drawn = draw(points, triangles)
    picture = interpolate(drawn, triangles, np.ones((len(points), 2)))
    assert picture.shape == (*SIZE[::-1], 2)
    np.testing.assert_allclose(picture[..., 0], drawn.triangle >= 0, atol=1e-6)
