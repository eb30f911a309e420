"""Steps within bounds, against scipy's bounded least squares."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from preparation.head_fit.bounded_steps import bounded_step

NUM_PROBLEMS, NUM_FREE, NUM_BOUNDED = 60, 3, 8


def problems(seed=0, most=1.0):
    """Least squares |rows x - wanted|, of which many solutions lie at bounds, and where to begin."""
    rng = np.random.default_rng(seed)
    size = NUM_FREE + NUM_BOUNDED
    rows = rng.normal(size=(NUM_PROBLEMS, 2 * size, size))
    wanted = (rows @ rng.normal(most / 2, most, (NUM_PROBLEMS, size, 1)))[..., 0]
    start = rng.uniform(0, most, (NUM_PROBLEMS, size))
    # Some begin at a bound.
    start[:, NUM_FREE] = 0
    start[:, -1] = most
    return rows, wanted, start


def take_steps(rows, wanted, values, most, count):
    for _ in range(count):
        system = rows.transpose(0, 2, 1) @ rows
        right = (rows.transpose(0, 2, 1) @ (wanted - (rows @ values[..., None])[..., 0])[..., None])[..., 0]
        values = values + bounded_step(system, right, values[:, NUM_FREE:], most)
        bounded = values[:, NUM_FREE:]
        assert bounded.min() > -1e-12 and bounded.max() < most + 1e-12
    return values


@pytest.mark.parametrize("most", [1.0, 1.6])
def test_steps_lead_to_the_bounded_minimum(most):
    rows, wanted, start = problems(most=most)
    found = take_steps(rows, wanted, start, most, 12)
    low = np.r_[np.full(NUM_FREE, -np.inf), np.zeros(NUM_BOUNDED)]
    high = np.r_[np.full(NUM_FREE, np.inf), np.full(NUM_BOUNDED, most)]
    true = np.stack([lsq_linear(a, b, (low, high), tol=1e-12).x for a, b in zip(rows, wanted, strict=True)])
    at_bound = np.isclose(true[:, NUM_FREE:], 0, atol=1e-6) | np.isclose(true[:, NUM_FREE:], most, atol=1e-6)
    assert 0.2 < at_bound.mean() < 0.8
    # lsq_linear's own tolerance; the damping goes to zero with the step.
    np.testing.assert_allclose(found, true, atol=1e-5)


def test_most_of_the_way_is_done_by_the_first_step():
    rows, wanted, start = problems()

    def cost(values):
        return (((rows @ values[..., None])[..., 0] - wanted) ** 2).sum(axis=1)

    one, all_steps = take_steps(rows, wanted, start, 1.0, 1), take_steps(rows, wanted, start, 1.0, 12)
    left = (cost(one) - cost(all_steps)) / (cost(start) - cost(all_steps))
    assert left.min() > -1e-9
    assert left.max() < 0.2


def test_within_the_bounds_it_is_newtons_step():
    rows, _, _ = problems()
    middle = np.full((NUM_PROBLEMS, NUM_BOUNDED), 0.5)
    system = rows.transpose(0, 2, 1) @ rows
    right = 0.1 * np.random.default_rng(1).normal(size=rows.shape[::2])
    step = bounded_step(system, right, middle)
    # The system's own diagonal is damped by a millionth.
    np.testing.assert_allclose(step, np.linalg.solve(system, right[..., None])[..., 0], rtol=1e-4, atol=1e-5)
    assert np.abs(step[:, NUM_FREE:]).max() < 0.5


def test_what_is_held_is_let_go_when_its_gradient_points_inwards():
    system = np.eye(3)[None]
    outwards, inwards = np.array([[0.3, -0.2, 0.2]]), np.array([[0.3, 0.2, -0.2]])
    at_bounds = np.array([[0.0, 1.0]])
    np.testing.assert_allclose(bounded_step(system, outwards, at_bounds), [[0.3, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(bounded_step(system, inwards, at_bounds), inwards, atol=1e-6)


def test_others_are_solved_again_where_one_is_held():
    # The unbounded step is (2, -1): with the second kept at 0 the first one's own best is 1.
    system = np.array([[[1.0, 1.0], [1.0, 2.0]]])
    right = np.array([[1.0, 0.0]])
    np.testing.assert_allclose(bounded_step(system, right, np.zeros((1, 1))), [[1, 0]], atol=1e-5)


def test_each_frame_is_solved_by_itself():
    rows, wanted, start = problems()
    together = take_steps(rows, wanted, start, 1.0, 1)
    alone = [take_steps(*(part[[i]] for part in (rows, wanted, start)), 1.0, 1) for i in range(NUM_PROBLEMS)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-12)
