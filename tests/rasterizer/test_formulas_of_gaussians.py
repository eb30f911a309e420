"""The CUDA kernels' formulas on the host: a whole Gaussian, forward and backward, and pixels."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from diff_gaussian_rasterization import Splats, View, reference
from diff_gaussian_rasterization.constants import ALPHA_MIN
from tests.rasterizer.host_formulas import (
    assert_close,
    camera_row,
    gaussian_rows,
    project_all,
    random,
    rounded,
)
from tests.rasterizer.scenes import Scene, camera, scenes, splats
from tests.rasterizer.sources import needs_cc

pytestmark = needs_cc

SCENES = scenes()
MORE_SCENES = ["degree 3", "degree 2", "degree 1", "degree 0", "colors", "cov3d", "cov3d and colors"]
MORE_SCENES += ["needles", "huge", "tiny", "off-centre", "part behind the camera", "close"]
MORE_SCENES += [name for name in SCENES if "antialiased" in name or "inverse" in name]
# As in formulas.h.
REACH_SLACK = 0.01


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
    visible, out, half, radii = project_all(formulas.of(scene, double), scene)
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


class Truth(NamedTuple):
    """Sums of blending's backward pass over some pixels of each Gaussian, and what autograd makes of them."""

    sums: Tensor  # [N, 10] SplatSums
    gradients: dict[str, Tensor]  # by name; world_to_camera and intrinsics too, means2d in pixels


def gradients_by_autograd(parts: dict[str, Tensor], view: View) -> Truth:
    """Weigh exponents at six pixels near each mean, colours and depths at random."""
    num = len(parts["means"])
    offsets, weights = torch.tensor(random(num, 6, 2, seed=1)), torch.tensor(random(num, 6, seed=2))
    v_color, v_z = torch.tensor(random(num, 3, seed=3)), torch.tensor(random(num, seed=4))
    leaves = {**parts, "world_to_camera": view.world_to_camera, "intrinsics": view.intrinsics}
    leaves = {name: t.clone().requires_grad_() for name, t in leaves.items()}
    view = view._replace(world_to_camera=leaves["world_to_camera"], intrinsics=leaves["intrinsics"])
    p = reference.project(Splats(**{name: leaves.get(name) for name in Splats._fields}), view)
    p.means.retain_grad()
    xx, xy, yy = p.cov.unbind(1)
    sigma = torch.stack([xx, yy], 1).sqrt().detach()
    pixels = p.means.detach()[:, None] + offsets * sigma[:, None]  # [N, 6, 2]
    x, y = (pixels - p.means[:, None]).unbind(2)
    d = x - (xy / yy)[:, None] * y
    shape = d**2 / (xx - xy * xy / yy)[:, None] + y**2 / yy[:, None]
    exponents = p.opacities.log()[:, None] - 0.5 * shape
    depths = 1 / p.depths if view.inverse_depth else p.depths
    ((weights * exponents).sum() + (v_color * p.colors).sum() + (v_z * depths).sum()).backward()

    g, g_d, g_y = weights, weights * d, weights * y
    sums = [t.sum(1) for t in (g, g_d, g_y, g_d * d, g_d * y, g_y * y)]
    sums = torch.cat([torch.stack(sums, 1), v_color, v_z[:, None]], 1).detach()
    return Truth(sums, {name: t.grad for name, t in leaves.items()} | {"means2d": p.means.grad})


# Float: the same reason, and the gradients of a needle's axes are differences of large numbers.
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-6), (False, 1e-3)])
@pytest.mark.parametrize("name", MORE_SCENES)
def test_gradients_of_a_gaussian_equal_reference(formulas, name, double, tolerance):
    scene = rounded(SCENES[name]())
    c = formulas.of(scene, double)
    drawn, _ = reference.visibility(reference.project(scene.splats, scene.view), scene.view)
    parts = {name: t[drawn] for name, t in scene.splats._asdict().items() if t is not None}
    num = int(drawn.sum())
    sums, truth = gradients_by_autograd(parts, scene.view)
    rows, sums = c.array(gaussian_rows(Splats(**parts))), c.array(sums)
    camera_values = c.array(camera_row(scene.view))
    v, v_camera, v_means2d = c.zeros(*rows.shape), c.zeros(num, 16), c.zeros(num, 2)
    for i in range(num):
        arguments = rows[i], camera_values, sums[i], v[i], v_camera[i], v_means2d[i]
        c.call("project_backward", *arguments)

    start = 0
    for name in ("means", "opacities", "cov3d", "scales", "rotations", "colors", "sh"):
        if name in parts:
            true_rows = truth[name].reshape(num, -1).numpy()
            value = v[:, start : start + true_rows.shape[1]]
            error = np.linalg.norm(value - true_rows) / max(np.linalg.norm(true_rows), 1e-12)
            assert error < tolerance, (name, error)
            start += true_rows.shape[1]
    assert start == v.shape[1]
    assert_close(v_means2d, truth["means2d"], tolerance)
    v_camera = v_camera.astype(float).sum(0)
    assert_close(v_camera[:9], truth["world_to_camera"][:3, :3].flatten(), tolerance)
    assert_close(v_camera[9:12], truth["world_to_camera"][:3, 3], tolerance)
    assert_close(v_camera[12:], truth["intrinsics"], tolerance)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("double", [True, False])
def test_values_that_are_not_finite_are_not_visible(formulas, bad, double):
    for name in ("degree 3", "cov3d and colors"):
        scene = SCENES[name]()
        c = formulas.of(scene, double)
        visible = project_all(c, scene)[0]
        rows, view = c.array(gaussian_rows(scene.splats)), c.array(camera_row(scene.view))
        row = rows[np.flatnonzero(visible)[0]]
        for i in range(row.size):
            broken = row.copy()
            broken[i] = bad
            assert not c.call("project", broken, view, c.zeros(12), c.zeros(2), np.zeros(1, np.int32)), i


# --- one pixel


# Double but not exact: a pixel near a threshold may fall on either side of it, by the 24 bits of a constant.
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-6), (False, 1e-4)])
@pytest.mark.parametrize("name", ["degree 3", "needles", "opaque stack", "huge", "cov3d and colors", "many"])
def test_blending_of_pixels_equals_reference(formulas, name, double, tolerance):
    scene = rounded(SCENES[name]())
    c = formulas.of(scene, double)
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
