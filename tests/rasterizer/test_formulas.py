"""The formulas of the CUDA kernels, compiled with the host's C compiler, against the reference.

formulas.h and gaussian.h are C99 as well as CUDA C++. A shim of exported functions is compiled twice: in
float, as the kernels compute, and with `float` defined as double, which leaves no rounding that a wrong digit
could hide in: what agrees with float64 to 1e-6 there is the same formula. (Not to 1e-15: constants keep their
24 bits.)
"""

import ctypes
import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diff_gaussian_rasterization import Splats, View, reference
from diff_gaussian_rasterization.constants import ALPHA_MIN
from diff_gaussian_rasterization.cuda import compiler
from tests.rasterizer.scenes import Scene, camera, scenes, splats

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, `cc`")

SCENES = scenes()
MORE_SCENES = ["degree 3", "degree 2", "degree 1", "degree 0", "colors", "cov3d", "cov3d and colors"]
MORE_SCENES += ["needles", "huge", "tiny", "off-centre", "part behind the camera", "close"]
# As in formulas.h.
REACH_SLACK = 0.01

SHIM = """
#include <math.h>
#if DOUBLE
#define float double
#define sqrtf sqrt
#define fminf fmin
#define fmaxf fmax
#define fmaf fma
#define exp2f exp2
#define log2f log2
#define ceilf ceil
#define fabsf fabs
#endif
#include "gaussian.h"
typedef float real;

int project(const Gaussian *g, const Camera *camera, Splat *splat, real *half, int *radius) {
    Extent extent;
    if (!project_shape(g, camera, splat, &extent) || !project_color(g, camera, splat)) return 0;
    half[0] = extent.half_width, half[1] = extent.half_height, *radius = extent.radius;
    return 1;
}

void project_backward(const Gaussian *g, const Camera *camera, const SplatSums *sums, Gaussian *v,
                      CameraGradient *v_camera, real *v_mean2d) {
    project_backward_one(g, camera, sums, v, v_camera, &v_mean2d[0], &v_mean2d[1]);
}

int sizes(int k) {
    int all[] = {sizeof(Gaussian), sizeof(Camera), sizeof(Splat), sizeof(SplatSums), sizeof(CameraGradient)};
    return all[k] / (int)sizeof(real);
}

/* u, v, z, row_u, row_v of a mean in the world, and whether the slopes are inside */
void screen(const Vec3 *mean, const Camera *camera, real *out, int *inside) {
    Vec3 p = mix(1, rotate(&camera->rotation, *mean), 1, camera->translation);
    ToScreen s = to_screen(p, camera);
    out[0] = camera->fx * p.x / p.z + camera->cx, out[1] = camera->fy * p.y / p.z + camera->cy, out[2] = p.z;
    ((Vec3 *)(out + 3))[0] = s.row_u, ((Vec3 *)(out + 3))[1] = s.row_v;
    inside[0] = s.inside_x, inside[1] = s.inside_y;
}

void screen_backward(const Vec3 *mean, const Camera *camera, const real *v, Vec3 *v_mean,
                     CameraGradient *v_camera) {
    Vec3 p = mix(1, rotate(&camera->rotation, *mean), 1, camera->translation);
    ToScreen s = to_screen(p, camera);
    *v_mean = to_screen_backward(*mean, p, camera, &s, v[0], v[1], v[2], ((const Vec3 *)(v + 3))[0],
                                 ((const Vec3 *)(v + 3))[1], v_camera);
}

real clamp(real slope, real focal, real center, real size, int *inside) {
    return clamp_to_frustum(slope, focal, center, size, inside);
}

void matrix(const Quaternion *q, Mat3 *m) {
    real norm;
    *m = rotation_matrix(normalized(*q, &norm));
}

void matrix_backward(const Quaternion *q, const Mat3 *v, Quaternion *v_q) {
    real norm;
    Quaternion unit = normalized(*q, &norm);
    *v_q = rotation_matrix_backward(unit, norm, v);
}

void axes_covariance(const Vec3 *axes, ScreenCovariance *s) { *s = covariance_of_axes(axes[0], axes[1]); }

void matrix_covariance(const real *cov3d, const Vec3 *rows, ScreenCovariance *s) {
    *s = covariance_of_cov3d(cov3d, rows[0], rows[1]);
}

void matrix_covariance_backward(const Vec3 *rows, const Vec3 *v, real *v_cov3d) {
    covariance_of_cov3d_backward(rows[0], rows[1], *v, v_cov3d);
}

void cov3d_times(const real *cov3d, const Vec3 *x, Vec3 *y) { *y = times_cov3d(cov3d, *x); }

static ScreenCovariance of_three(const real *abc) {
    ScreenCovariance s;
    s.a = abc[0], s.b = abc[1], s.c = abc[2], s.determinant = s.a * s.c - s.b * s.b;
    return s;
}

void conic(const real *abc, Conic *k) { *k = conic_of(of_three(abc)); }

void conic_gradient(const real *abc, const Vec3 *v, Vec3 *v_abc) {
    ScreenCovariance s = of_three(abc);
    *v_abc = conic_backward(s, conic_of(s), *v);
}

#if SH_BASES > 0
void bases(const Vec3 *d, real *out) { sh_bases(*d, out); }
void bases_backward(const Vec3 *d, real length, const real *v, Vec3 *v_d) {
    *v_d = sh_bases_backward(*d, length, v);
}
#endif

real alpha(const Splat *s, real x, real y) {
    real d, dy;
    return splat_alpha(s, x, y, &d, &dy);
}

real step(real alpha, real *transmittance) { return blend_step(alpha, transmittance); }

int meets(const Splat *s, const real *box) { return touches(s, box[0], box[1], box[2], box[3]); }
"""


class Formulas:
    """The functions of the shim, on arrays of its precision: what is not an array of it is an int array."""

    def __init__(self, library: ctypes.CDLL, real: type, dtype: type):
        self.library, self.real, self.dtype = library, real, dtype
        for name in ("clamp", "alpha", "step"):
            getattr(library, name).restype = real

    def array(self, values) -> np.ndarray:
        return np.ascontiguousarray(torch.as_tensor(values).detach().double().numpy(), dtype=self.dtype)

    def zeros(self, *shape: int) -> np.ndarray:
        return np.zeros(shape, self.dtype)

    def call(self, name: str, *arguments):
        """Call with arrays as pointers and numbers as reals."""
        passed = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous and argument.dtype in (self.dtype, np.int32)
                passed.append(ctypes.c_void_p(argument.ctypes.data))
            else:
                passed.append(self.real(argument))
        return getattr(self.library, name)(*passed)

    def of(self, name: str, num_out: int, *arguments) -> np.ndarray:
        """Call a function whose last argument is its result."""
        out = self.zeros(num_out)
        self.call(name, *map(self.array, arguments), out)
        return out


@pytest.fixture(scope="session")
def formulas(tmp_path_factory) -> Callable[..., Formulas]:
    """Compile the shim for so many SH bases, scales or covariances, float or double; each only once."""
    folder = tmp_path_factory.mktemp("formulas")
    (folder / "shim.c").write_text(SHIM)

    @functools.cache
    def compiled(bases: int = 16, given_cov3d: bool = False, double: bool = True) -> Formulas:
        library = folder / f"shim_{bases}_{given_cov3d:d}_{double:d}.so"
        options = {"SH_BASES": bases, "GIVEN_COV3D": int(given_cov3d), "DOUBLE": int(double)}
        defined = [f"-D{name}={value}" for name, value in compiler.macros(options).items()]
        strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
        files = [folder / "shim.c", "-o", library, f"-I{compiler.KERNELS}", "-lm"]
        run = ["cc", "-O1", "-shared", "-fPIC", *strict, "-Wno-unused-function", *defined, *files]
        result = subprocess.run(run, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        real, dtype = (ctypes.c_double, np.float64) if double else (ctypes.c_float, np.float32)
        return Formulas(ctypes.CDLL(str(library)), real, dtype)

    return compiled


def formulas_for(formulas, scene: Scene, double: bool = True) -> Formulas:
    drawn = scene.splats
    return formulas(0 if drawn.sh is None else drawn.sh.shape[1], drawn.cov3d is not None, double)


def gaussian_rows(drawn: Splats) -> Tensor:
    """The struct Gaussian of each, [N, ...]."""
    shape = [drawn.cov3d] if drawn.cov3d is not None else [drawn.scales, drawn.rotations]
    color = drawn.colors if drawn.sh is None else drawn.sh.flatten(1)
    return torch.cat([drawn.means, drawn.opacities[:, None], *shape, color], 1)


def camera_row(view: View) -> Tensor:
    """The struct Camera."""
    matrix = view.world_to_camera
    sizes = matrix.new_tensor([view.width, view.height, view.near])
    return torch.cat([matrix[:3, :3].flatten(), matrix[:3, 3], view.intrinsics, sizes])


def rounded(scene: Scene) -> Scene:
    """The scene, its values rounded to float32: the same numbers for every precision."""
    drawn = Splats(*(None if t is None else t.float().double() for t in scene.splats))
    view = scene.view
    view = view._replace(
        world_to_camera=view.world_to_camera.float().double(), intrinsics=view.intrinsics.float().double()
    )
    return scene._replace(splats=drawn, view=view)


def project_all(c: Formulas, scene: Scene):
    """Return visible [N], splats [N, 12], half widths and heights [N, 2] and radii [N]."""
    rows, view = c.array(gaussian_rows(scene.splats)), c.array(camera_row(scene.view))
    num = len(rows)
    out, half, radii = c.zeros(num, 12), c.zeros(num, 2), np.zeros((num, 1), np.int32)
    visible = [c.call("project", rows[i], view, out[i], half[i], radii[i]) for i in range(num)]
    return np.array(visible, bool), out.astype(float), half.astype(float), radii[:, 0]


def assert_close(value, truth, tolerance: float, scale: float | None = None) -> None:
    """Within `tolerance` of `scale`, by default the largest of the truth."""
    value, truth = np.asarray(value, float), np.asarray(truth, float)
    assert value.shape == truth.shape and np.isfinite(value).all()
    if truth.size:
        np.testing.assert_allclose(
            value, truth, rtol=0, atol=tolerance * (scale or max(np.abs(truth).max(), 1e-12))
        )


def differences(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The gradient of v . f(x), by central differences."""
    gradient = np.zeros_like(x)
    for i in range(x.size):
        step = np.zeros_like(x)
        step[i] = 1e-6 * max(1.0, abs(x[i]))
        gradient[i] = v @ (f(x + step) - f(x - step)) / (2 * step[i])
    return gradient


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# --- the whole of a Gaussian, forward and backward


def test_structs_are_rows_of_numbers(formulas):
    for bases, given in [(0, False), (16, False), (9, True)]:
        gaussian = 4 + (6 if given else 7) + (3 * bases or 3)
        library = formulas(bases, given).library
        assert [library.sizes(k) for k in range(5)] == [gaussian, 19, 12, 10, 16]


# Float: the conic of a needle or a huge Gaussian is a quotient of numbers that differ by many orders.
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-6), (False, 1e-4)])
@pytest.mark.parametrize("name", MORE_SCENES)
def test_projection_equals_reference(formulas, name, double, tolerance):
    scene = rounded(SCENES[name]())
    visible, out, half, radii = project_all(formulas_for(formulas, scene, double), scene)
    projected = reference.project(scene.splats, scene.view)
    drawn, true_radii = reference.visibility(projected, scene.view)
    assert np.array_equal(visible, drawn.numpy()) and visible.any()
    assert np.abs(radii[visible] - true_radii[drawn].numpy()).max() <= (0 if double else 1)
    out, half = out[visible], half[visible]
    means, cov, depths, colors, opacities = (t[drawn].numpy() for t in projected)
    xx, xy, yy = cov.T
    half_a, slope, half_c, log2_opacity, reach, tilt = out[:, 2:8].T
    scale = np.abs(means).max() + scene.view.width
    assert_close(out[:, :2], means, tolerance, scale)
    assert_close(out[:, 8:11], colors, tolerance)
    assert_close(out[:, 11], depths, tolerance)
    # entry by entry, since the covariances of a scene differ by orders; log2 e is the unit of the exponent
    np.testing.assert_allclose(half_c * np.log(2) * 2 * yy, 1, atol=tolerance)
    np.testing.assert_allclose(half_a * np.log(2) * 2 * (xx - xy * xy / yy), 1, atol=tolerance)
    assert_close((slope - xy / yy) / np.sqrt(xx / yy), 0 * slope, tolerance, 1)
    assert_close((tilt - xy / xx) / np.sqrt(yy / xx), 0 * slope, tolerance, 1)
    assert_close(log2_opacity, np.log2(opacities), tolerance, 8)
    assert_close(reach, np.log2(opacities / ALPHA_MIN) + REACH_SLACK, tolerance, 8)
    assert_close(half**2 / cov[:, ::2] / (2 * np.log(2) * reach[:, None]), np.ones_like(half), tolerance, 1)


# Float: the same reason, and the gradients of a needle's axes are differences of large numbers.
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-6), (False, 1e-3)])
@pytest.mark.parametrize("name", MORE_SCENES)
def test_gradients_of_a_gaussian_equal_reference(formulas, name, double, tolerance):
    scene = rounded(SCENES[name]())
    c = formulas_for(formulas, scene, double)
    drawn, _ = reference.visibility(reference.project(scene.splats, scene.view), scene.view)
    parts = {name: t[drawn] for name, t in scene.splats._asdict().items() if t is not None}
    num = int(drawn.sum())
    offsets, weights = torch.tensor(random(num, 6, 2, seed=1)), torch.tensor(random(num, 6, seed=2))
    v_color, v_z = torch.tensor(random(num, 3, seed=3)), torch.tensor(random(num, seed=4))

    # The truth: autograd of exponents at a few pixels near each mean, colour and depth, weighted at random.
    leaves = {name: t.clone().requires_grad_() for name, t in parts.items()}
    matrix = scene.view.world_to_camera.clone().requires_grad_()
    intrinsics = scene.view.intrinsics.clone().requires_grad_()
    view = scene.view._replace(world_to_camera=matrix, intrinsics=intrinsics)
    p = reference.project(Splats(**{name: leaves.get(name) for name in Splats._fields}), view)
    p.means.retain_grad()
    xx, xy, yy = p.cov.unbind(1)
    sigma = torch.stack([xx, yy], 1).sqrt().detach()
    pixels = p.means.detach()[:, None] + offsets * sigma[:, None]  # [N, 6, 2]
    x, y = (pixels - p.means[:, None]).unbind(2)
    d = x - (xy / yy)[:, None] * y
    shape = d**2 / (xx - xy * xy / yy)[:, None] + y**2 / yy[:, None]
    exponents = p.opacities.log()[:, None] - 0.5 * shape
    loss = (weights * exponents).sum() + (v_color * p.colors).sum() + (v_z * p.depths).sum()
    loss.backward()

    g, g_d, g_y = weights, weights * d, weights * y
    sums = [t.sum(1) for t in (g, g_d, g_y, g_d * d, g_d * y, g_y * y)]
    sums = torch.cat([torch.stack(sums, 1), v_color, v_z[:, None]], 1)
    rows, sums = c.array(gaussian_rows(Splats(**parts))), c.array(sums)
    camera_values = c.array(camera_row(scene.view))
    v, v_camera, v_means2d = c.zeros(*rows.shape), c.zeros(num, 16), c.zeros(num, 2)
    for i in range(num):
        arguments = rows[i], camera_values, sums[i], v[i], v_camera[i], v_means2d[i]
        c.call("project_backward", *arguments)

    truth = {name: t.grad for name, t in leaves.items()}
    columns = gaussian_rows(Splats(**{name: torch.zeros_like(t) for name, t in truth.items()}))
    assert columns.shape == v.shape
    start = 0
    for name in ("means", "opacities", "cov3d", "scales", "rotations", "colors", "sh"):
        if name in truth:
            true_rows = truth[name].reshape(num, -1).numpy()
            value = v[:, start : start + true_rows.shape[1]]
            error = np.linalg.norm(value - true_rows) / max(np.linalg.norm(true_rows), 1e-12)
            assert error < tolerance, (name, error)
            start += true_rows.shape[1]
    assert start == v.shape[1]
    assert_close(v_means2d, p.means.grad, tolerance)
    v_camera = v_camera.astype(float).sum(0)
    assert_close(v_camera[:9], matrix.grad[:3, :3].flatten(), tolerance)
    assert_close(v_camera[9:12], matrix.grad[:3, 3], tolerance)
    assert_close(v_camera[12:], intrinsics.grad, tolerance)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("double", [True, False])
def test_values_that_are_not_finite_are_not_visible(formulas, bad, double):
    for name in ("degree 3", "cov3d and colors"):
        scene = SCENES[name]()
        c = formulas_for(formulas, scene, double)
        visible = project_all(c, scene)[0]
        rows, view = c.array(gaussian_rows(scene.splats)), c.array(camera_row(scene.view))
        row = rows[np.flatnonzero(visible)[0]]
        for i in range(row.size):
            broken = row.copy()
            broken[i] = bad
            assert not c.call("project", broken, view, c.zeros(12), c.zeros(2), np.zeros(1, np.int32)), i


# --- each formula and its derivative


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
        truth = [cov[0, 0], cov[0, 1], cov[1, 1], np.linalg.det(cov)]
        np.testing.assert_allclose(c.of("axes_covariance", 4, axes), truth, rtol=1e-6)

        half = random(3, 3, seed=k) * np.array([[1], [length], [1]])
        cov3d, rows = half.T @ half, c.array(random(2, 3, seed=k + 3)).astype(float)
        six = c.array(cov3d[[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]).astype(float)
        cov3d = six[[0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(3, 3)
        cov = rows @ cov3d @ rows.T + 0.3 * np.eye(2)
        truth = [cov[0, 0], cov[0, 1], cov[1, 1], np.linalg.det(cov)]
        np.testing.assert_allclose(c.of("matrix_covariance", 4, six, rows), truth, rtol=1e-6)
        assert_close(c.of("cov3d_times", 3, six, rows[0]), cov3d @ rows[0], 1e-6)


def test_covariance_gradient_equals_differences(formulas):
    c = formulas()
    rows, cov3d, v = random(2, 3), random(6, seed=1), random(3, seed=2)

    def covariance(x):
        return c.of("matrix_covariance", 4, x, rows)[:3]

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


# --- one pixel


# Double but not exact: a pixel near a threshold may fall on either side of it, by the 24 bits of a constant.
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-6), (False, 1e-4)])
@pytest.mark.parametrize("name", ["degree 3", "needles", "opaque stack", "huge", "cov3d and colors", "many"])
def test_blending_of_pixels_equals_reference(formulas, name, double, tolerance):
    scene = rounded(SCENES[name]())
    c = formulas_for(formulas, scene, double)
    visible, out, _, _ = project_all(c, scene)
    order = np.flatnonzero(visible)[np.argsort(out[visible, 11], kind="stable")]
    pixels = np.random.default_rng(0).integers(0, [scene.view.width, scene.view.height], (60, 2)) + 0.5
    rows = c.array(out[order])
    values = np.zeros((5, len(pixels)))
    for k, (x, y) in enumerate(pixels):
        transmittance = c.zeros(1) + 1
        for i, row in enumerate(rows):
            weight = c.call("step", c.call("alpha", row, x, y), transmittance)
            values[:4, k] += weight * out[order[i], 8:]
        values[:3, k] += abs(float(transmittance[0])) * scene.background.numpy()
        values[4, k] = 1 - abs(float(transmittance[0]))
    projected = reference.Projected(*(t[order] for t in reference.project(scene.splats, scene.view)))
    truth = reference.blend_pixels(projected, torch.tensor(pixels), scene.background).numpy()
    assert truth[4].max() > 0.1
    wrong = np.abs(values - truth) > tolerance * max(1, np.abs(truth).max())
    assert wrong.any(0).mean() <= 1 / 60


def test_step_skips_caps_and_ends(formulas):
    c = formulas(double=False)

    def step(alpha, before):
        after = c.zeros(1) + before
        return c.call("step", alpha, after), after[0]

    # Below 1/255.
    assert step(float(np.nextafter(np.float32(1 / 255), np.float32(0))), 1.0) == (0, 1)
    assert step(float(np.float32(1 / 255)), 1.0)[0] > 0
    assert step(float("nan"), 1.0) == (0, 1)
    # Capped.
    weight, after = step(1.0, 1.0)
    assert abs(weight - 0.99) < 1e-7 and abs(after - 0.01) < 1e-7
    # Would leave less than 1e-4: not blended, and the pixel has ended.
    weight, after = step(1.0, 0.00999)
    assert weight == 0 and after == np.float32(-0.00999)
    # Has ended before.
    assert step(0.5, -0.5) == (0, -0.5)


@pytest.mark.parametrize("double", [True, False])
def test_touches_is_true_of_every_rectangle_that_the_outline_meets_and_of_few_others(formulas, double):
    c = formulas(double=double)
    shapes = [splats(40, seed=1), splats(40, seed=2, size=0.6)]
    shapes.append(shapes[0]._replace(scales=shapes[0].scales * torch.tensor([12.0, 0.01, 0.01])))
    random_numbers = np.random.default_rng(3)
    met = num = 0
    for drawn in shapes:
        scene = rounded(Scene(drawn, camera(64, 48), torch.zeros(3)))
        visible, out, _, _ = project_all(c, scene)
        for row in out[visible]:
            u, v, half_a, slope, half_c, _, reach = row[:7]
            for _ in range(20):
                left, top = random_numbers.integers(-8, 64), random_numbers.integers(-8, 48)
                box = np.array(
                    [left, top, left + random_numbers.integers(1, 17), top + random_numbers.integers(1, 17)]
                )
                box = box + np.array([0.5, 0.5, -0.5, -0.5])
                touches = bool(c.call("meets", c.array(row), c.array(box)))
                # The form is convex: least at the mean, if that is inside, else on the border. Its curvature
                # is at most that of the dilation alone, 0.72 / 0.3: these samples miss it by less than 0.002.
                t = np.linspace(0, 1, 400)
                x, y = box[0] + t * (box[2] - box[0]), box[1] + t * (box[3] - box[1])
                xs = np.concatenate([x, x, 0 * t + box[0], 0 * t + box[2]]) - u
                ys = np.concatenate([0 * t + box[1], 0 * t + box[3], y, y]) - v
                least = (half_a * (xs - slope * ys) ** 2 + half_c * ys**2).min()
                if box[0] <= u <= box[2] and box[1] <= v <= box[3]:
                    least = 0
                if least <= reach - REACH_SLACK:
                    assert touches
                if least > reach + 0.002:
                    assert not touches
                met += touches
                num += 1
    assert 0.1 < met / num < 0.9


def test_header_needs_nothing_but_c99(tmp_path):
    """The headers do not depend on what the shim defines."""
    for name in ("formulas.h", "gaussian.h"):
        source = Path(tmp_path) / "only.c"
        source.write_text(f'#include "{name}"\nint main(void) {{ return 0; }}\n')
        defined = [f"-D{k}={v}" for k, v in compiler.macros({"SH_BASES": 4, "GIVEN_COV3D": 1}).items()]
        strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]
        run = ["cc", "-fsyntax-only", *strict, *defined, f"-I{compiler.KERNELS}", source]
        result = subprocess.run(run, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
