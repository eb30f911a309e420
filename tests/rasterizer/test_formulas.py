"""Each formula of the CUDA kernels and its derivative, compiled for the host: host_formulas.py says how."""

import functools

import numpy as np
import pytest
import torch

from diff_gaussian_rasterization import Splats, reference
from tests.rasterizer.host_formulas import assert_close, camera_row, differences, random, run_cc
from tests.rasterizer.scenes import camera
from tests.rasterizer.sources import needs_cc

pytestmark = needs_cc


def test_jacobian_is_clamped_as_in_the_reference_and_says_so(formulas):
    c = formulas()
    for focal, center, size in [(58.0, 22.5, 45.0), (58.0, -4.0, 45.0), (20.0, 41.0, 34.0)]:
        slopes = np.linspace(-4, 4, 161)
        as_tensor = functools.partial(torch.tensor, dtype=torch.float64)
        truth = reference._clamp_to_frustum(as_tensor(slopes), as_tensor(focal), as_tensor(center), int(size))
        for slope, true_slope in zip(slopes, truth.tolist()):
            inside = np.full(1, -1, np.int32)
            assert abs(c.call("clamp", slope, focal, center, size, inside) - true_slope) < 1e-6
            assert inside[0] == (abs(true_slope - slope) < 1e-12)
        assert truth[0] > -4 and truth[-1] < 4


@pytest.mark.parametrize("mean", [(0.1, -0.2, 0.3), (2.6, 0.1, 0.2), (-0.3, -3.0, 0.1), (-4.0, 5.0, 0.4)])
def test_screen_gradient_equals_differences(formulas, mean):
    c = formulas()
    start = np.concatenate([mean, c.array(camera_row(camera(center=(20.0, 15.0))))])
    inside, v = np.zeros(2, np.int32), random(9)
    c.call("screen", start[:3].copy(), start[3:].copy(), c.zeros(9), inside)
    beyond = 2 - inside.sum()
    assert beyond == {0.1: 0, 2.6: 1, -0.3: 1, -4.0: 2}[mean[0]]

    def screen(x):
        out = c.zeros(9)
        c.call("screen", x[:3].copy(), x[3:].copy(), out, inside)
        return out

    def screen_with_fixed_bounds(x):
        # No gradient passes to focal length and principal point through the bounds of the clamp.
        out = screen(x)
        for axis, row in ((0, slice(3, 6)), (1, slice(6, 9))):
            if not was_inside[axis]:
                p = x[3:12].reshape(3, 3) @ x[:3] + x[12:15]
                bound = bounds[axis]
                rotation = x[3:12].reshape(3, 3)
                out[row] = x[15 + axis] / p[2] * (rotation[axis] - bound * rotation[2])
        return out

    was_inside = inside.copy()
    matrix = start[3:12].reshape(3, 3)
    p = matrix @ start[:3] + start[12:15]
    flag = np.zeros(1, np.int32)
    bounds = [
        c.call("clamp", p[axis] / p[2], start[15 + axis], start[17 + axis], start[19 + axis], flag)
        for axis in (0, 1)
    ]
    assert_close(screen_with_fixed_bounds(start), screen(start), 1e-9)
    truth = differences(screen_with_fixed_bounds, start, v)
    v_mean, v_camera = c.zeros(3), c.zeros(16)
    c.call("screen_backward", start[:3].copy(), start[3:].copy(), v, v_mean, v_camera)
    assert_close(v_mean, truth[:3], 1e-6)
    assert_close(v_camera, truth[3:19], 1e-6)


def test_rotation_matrix_and_its_gradient(formulas):
    c = formulas()
    for q in random(8, 4) * np.array([[0.1], [1], [1], [1], [1], [1], [3], [30]]):
        matrix = c.of("matrix", 9, q).reshape(3, 3)
        assert_close(matrix @ matrix.T, np.eye(3), 1e-12)
        assert np.linalg.det(matrix) > 0
        splat = Splats(*torch.zeros(2, 1, 3), torch.ones(1, 3), torch.tensor(q[None]))
        stretched = splat._replace(scales=torch.tensor([[1.0, 2.0, 3.0]]))
        assert_close(matrix @ np.diag([1, 4, 9]) @ matrix.T, reference._cov3d(stretched)[0], 1e-6)
        v = random(9, seed=1)
        truth = differences(lambda x: c.of("matrix", 9, x), q, v)
        assert_close(c.of("matrix_backward", 4, q, v), truth, 1e-5)


@pytest.mark.parametrize("double", [True, False])
def test_covariances_and_determinants(formulas, double):
    c = formulas(double=double)
    # Needles: the two narrow axes.
    for k, length in enumerate([1.0, 1e-3, 1e3]):
        axes = random(2, 3, seed=k) * np.array([30.0, length, length])
        axes = c.array(axes).astype(float)
        cov = axes @ axes.T + 0.3 * np.eye(2)
        truth = [cov[0, 0], cov[0, 1], cov[1, 1], np.linalg.det(cov), (np.cross(*axes) ** 2).sum()]
        np.testing.assert_allclose(c.of("axes_covariance", 5, axes), truth, rtol=1e-5)

        half = random(3, 3, seed=k) * np.array([[1], [length], [1]])
        cov3d, rows = half.T @ half, c.array(random(2, 3, seed=k + 3)).astype(float)
        six = c.array(cov3d[[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]).astype(float)
        cov3d = six[[0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(3, 3)
        cov = rows @ cov3d @ rows.T + 0.3 * np.eye(2)
        truth = [cov[0, 0], cov[0, 1], cov[1, 1], np.linalg.det(cov)]
        value = c.of("matrix_covariance", 5, six, rows)
        np.testing.assert_allclose(value[:4], truth, rtol=1e-6)
        np.testing.assert_allclose(
            value[4], np.linalg.det(cov - 0.3 * np.eye(2)), rtol=1e-6, atol=1e-6 * truth[3]
        )
        assert_close(c.of("cov3d_times", 3, six, rows[0]), cov3d @ rows[0], 1e-6)


def test_covariance_gradient_equals_differences(formulas):
    c = formulas()
    rows, cov3d, v = random(2, 3), random(6, seed=1), random(3, seed=2)

    def covariance(x):
        return c.of("matrix_covariance", 5, x, rows)[:3]

    assert_close(c.of("matrix_covariance_backward", 6, rows, v), differences(covariance, cov3d, v), 1e-6)


@pytest.mark.parametrize("abc", [(2.0, 0.7, 1.0), (900.0, -29.0, 1.2), (0.3, 0.0, 0.3), (0.5, 3.0, 40.0)])
def test_conic_is_the_inverse_and_its_gradient_equals_differences(formulas, abc):
    c, abc, v = formulas(), np.array(abc), random(3)
    half_a, slope, half_c = c.of("conic", 3, abc)
    precision = np.linalg.inv(np.array([[abc[0], abc[1]], [abc[1], abc[2]]]))
    completed = [half_a, -half_a * slope, half_a * slope**2 + half_c]
    assert_close(completed, precision.flatten()[[0, 1, 3]] / 2, 1e-9)
    truth = differences(lambda x: c.of("conic", 3, x), abc, v)
    assert_close(c.of("conic_gradient", 3, abc, v), truth, 1e-5)


@pytest.mark.parametrize("num", [1, 4, 9, 16])
def test_harmonics_and_their_gradient_equal_reference(formulas, num):
    c = formulas(num)
    for direction in random(10, 3):
        leaf = torch.tensor(direction[None], requires_grad=True)
        length = leaf.norm()
        truth = reference.sh_bases(leaf / length, num)[0]
        unit = direction / length.item()
        assert_close(c.of("bases", num, unit), truth.detach(), 1e-6)
        v, gradient = random(num, seed=num), c.zeros(3)
        # Degree 0 does not depend on the direction.
        (truth @ torch.tensor(v) + 0 * length).backward()
        c.call("bases_backward", unit, length.item(), v, gradient)
        assert_close(gradient, leaf.grad[0], 1e-6, 1)


@pytest.mark.parametrize("header", ["formulas.h", "gaussian.h"])
def test_header_needs_nothing_but_c99(tmp_path, header):
    """The headers do not depend on what the shim defines."""
    source = tmp_path / "only.c"
    source.write_text(f'#include "{header}"\nint main(void) {{ return 0; }}\n')
    run_cc({"SH_BASES": 4, "GIVEN_COV3D": 1}, "-fsyntax-only", source)
