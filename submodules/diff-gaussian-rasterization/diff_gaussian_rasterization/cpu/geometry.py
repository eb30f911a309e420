"""Projection and colour of Gaussians, and their gradients: numba kernels, one Gaussian at a time.

Computed in float64 (a few hundred operations per Gaussian; blending is what costs), so that needles and huge
Gaussians lose nothing. `splats` is a Splats of arrays; those that are absent have length 0. The names follow
reference.py, of which this is the explicit form, and the order that of cuda/kernels/: each formula beside its
derivative. Zwicker et al. 2001, Eq. 29-31; Kerbl et al. 2023, Eq. 5-6. Gradients: v_x = d loss / d x.

Records, one row per Gaussian, are what blending reads: u v (mean, pixels), half_a slope half_c (the inverse
covariance, completed to squares; see blending.py), opacity, red green blue, z, half_width half_height (of the
box around {alpha >= 1/255}), reach (its squared Mahalanobis distance).
"""

import math
from typing import NamedTuple

import numpy as np

from ..constants import ALPHA_MIN, DILATION, FRUSTUM_MARGIN
from ..types import Splats
from .harmonics import sh_bases, sh_bases_backward
from .threads import kernel
from .vectors import (
    add,
    add_outer,
    dot,
    mix,
    normalized,
    rotate,
    rotate_back,
    rotation_matrix,
    rotation_matrix_backward,
    store,
    times,
    vector,
)

# Columns of a record, how many of them, the first, have gradients, and which holds z.
RECORD, ROW, DEPTH = 13, 10, 9
# Gaussians per block; each block has a row of camera gradients.
BLOCK = 256
# Lists are a little too long rather than too short: blending decides in float32.
REACH_SLACK = 1e-3
# Of arrays in place of what a Splats lacks: then every kernel is compiled once.
SHAPES_IF_ABSENT = Splats(
    (0, 3), (0,), scales=(0, 3), rotations=(0, 4), sh=(0, 1, 3), colors=(0, 3), cov3d=(0, 6)
)


class Camera(NamedTuple):
    """A View as kernels take it: Python's floats, so that backward sees what forward saw."""

    rotation: tuple[tuple[float, ...], ...]  # world to camera, three rows
    translation: tuple[float, ...]
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    near: float
    antialiased: bool
    inverse_depth: bool


class Blended(NamedTuple):
    """What the projection's backward pass reads: v_rows[row_starts[g]:row_starts[g + 1]] are Gaussian g's."""

    records: np.ndarray  # [N, RECORD]
    row_starts: np.ndarray  # [N + 1]
    v_rows: np.ndarray  # [P, ROW]: summed, the gradient of a record


class InputGradients(NamedTuple):
    """Where gradients go; those of length 0 are not wanted. Those of means and opacities always are."""

    splats: Splats
    means2d: np.ndarray  # [N, 2 or 3] NDC units, zero: rows of Gaussians that are not drawn are left alone
    camera: np.ndarray  # [blocks, 16], a block's share: rotation (9), translation (3), fx fy cx cy


class CameraGradient(NamedTuple):
    rotation: tuple[tuple[float, ...], ...]
    translation: tuple[float, ...]
    intrinsics: tuple[float, ...]  # fx fy cx cy


@kernel
def project_forward(first_block, last_block, splats, camera, records, radii):
    """Write the records of the Gaussians and their radii (0: not drawn, the record is undefined)."""
    means, opacities, scales, rotations, sh, colors, cov3d = splats
    bases = np.empty(max(1, sh.shape[1]))
    for g in range(first_block * BLOCK, min(last_block * BLOCK, means.shape[0])):
        radii[g] = 0
        mean, opacity = vector(means, g), float(opacities[g])
        p = add(rotate(camera.rotation, mean), camera.translation)
        if not (p[2] > camera.near and opacity >= ALPHA_MIN):
            continue
        u = camera.fx * p[0] / p[2] + camera.cx
        v = camera.fy * p[1] / p[2] + camera.cy
        screen = _to_screen(p, camera)
        if scales.shape[0]:
            q, _ = normalized(rotations, g)
            a, b, c, determinant, sharp = _covariance_of_axes(screen, q, vector(scales, g))
        else:
            a, b, c, determinant, sharp = _covariance_of_cov3d(screen, _symmetric(cov3d, g))
        if colors.shape[0]:
            red, green, blue = vector(colors, g)
        else:
            direction, _ = _view_direction(mean, camera)
            red, green, blue = _color_before_clamp(sh, g, direction, bases)
        if not (math.isfinite(u + v + a + b + c + opacity + red + green + blue) and determinant > 0):
            continue
        if camera.antialiased:
            opacity *= math.sqrt(max(sharp, 0.0) / determinant)
            if not opacity >= ALPHA_MIN:
                continue
        reach = 2 * math.log(opacity / ALPHA_MIN)
        half_width, half_height = math.sqrt(reach * a), math.sqrt(reach * c)
        if not (u + half_width > 0 and u - half_width < camera.width):
            continue
        if not (v + half_height > 0 and v - half_height < camera.height):
            continue
        if not colors.shape[0]:
            red, green, blue = max(red, 0.0), max(green, 0.0), max(blue, 0.0)
        radii[g] = _radius(a, b, c)
        reach += REACH_SLACK
        r = records[g]
        r[0], r[1] = u, v
        r[2], r[3], r[4] = 0.5 * c / determinant, b / c, 0.5 / c
        r[5] = opacity
        r[6], r[7], r[8], r[9] = red, green, blue, p[2]
        r[10], r[11], r[12] = math.sqrt(reach * a), math.sqrt(reach * c), reach


@kernel(forceinline=True)
def _radius(a, b, c):
    """Return 3 standard deviations along the longer axis, in whole pixels."""
    largest = (a + c) / 2 + math.hypot((a - c) / 2, b)
    return int(min(math.ceil(3 * math.sqrt(largest)), 2147483520.0))


@kernel
def project_backward(first_block, last_block, splats, camera, blended, v_inputs):
    """Write the gradients of the Gaussians, and the blocks' shares in the camera's."""
    means, opacities, scales, rotations, sh, _, cov3d = splats
    v_means, v_opacities, v_scales, v_rotations, v_sh, v_colors, v_cov3d = v_inputs.splats
    records, row_starts, v_rows = blended
    bases, zero = np.empty(max(1, sh.shape[1])), (0.0, 0.0, 0.0)
    for block in range(first_block, last_block):
        v_camera = CameraGradient((zero, zero, zero), zero, (0.0, 0.0, 0.0, 0.0))
        for g in range(block * BLOCK, min((block + 1) * BLOCK, means.shape[0])):
            if row_starts[g] == row_starts[g + 1]:
                _clear(g, v_inputs.splats)
                continue
            v_uv, v_conic, v_opacity, v_color, v_z = _sum_rows(v_rows, row_starts[g], row_starts[g + 1])
            v_opacities[g] = v_opacity
            if v_inputs.means2d.shape[0]:
                v_inputs.means2d[g, 0] = v_uv[0] * camera.width / 2
                v_inputs.means2d[g, 1] = v_uv[1] * camera.height / 2
            mean, v_mean = vector(means, g), zero
            if v_colors.shape[0]:
                store(v_colors, g, v_color)
            if sh.shape[0]:
                v_color = _clamp_backward((records[g, 6], records[g, 7], records[g, 8]), v_color)
                direction, length = _view_direction(mean, camera)
                if v_sh.shape[0]:
                    _store_sh_gradient(v_sh, g, v_color, direction, bases)
                v_mean = _color_backward(sh, g, v_color, direction, length, bases)
                v_camera = _view_direction_backward(v_mean, camera, v_camera)

            p = add(rotate(camera.rotation, mean), camera.translation)
            screen = _to_screen(p, camera)
            v_cov = _conic_backward((records[g, 2], records[g, 3], records[g, 4]), v_conic)
            if camera.antialiased:
                # What was drawn, over what was given, is the factor of compensation.
                v_opacities[g] = v_opacity * records[g, 5] / opacities[g]
            if camera.inverse_depth:
                v_z = -v_z / (p[2] * p[2])
            if scales.shape[0]:
                (q, norm), scale = normalized(rotations, g), vector(scales, g)
                if camera.antialiased:
                    covariance = _covariance_of_axes(screen, q, scale)
                    v_cov = add(v_cov, _compensation_backward(covariance, v_opacity * records[g, 5]))
                v_screen, v_q, v_scale = _covariance_of_axes_backward(screen, q, norm, scale, v_cov)
                if v_scales.shape[0]:
                    store(v_scales, g, v_scale)
                if v_rotations.shape[0]:
                    v_rotations[g, 0], v_rotations[g, 1], v_rotations[g, 2], v_rotations[g, 3] = v_q
            else:
                if camera.antialiased:
                    covariance = _covariance_of_cov3d(screen, _symmetric(cov3d, g))
                    v_cov = add(v_cov, _compensation_backward(covariance, v_opacity * records[g, 5]))
                v_screen = _covariance_of_cov3d_backward(screen, _symmetric(cov3d, g), v_cov)
                if v_cov3d.shape[0]:
                    _store_cov3d_gradient(v_cov3d, g, screen, v_cov)
            v_p, v_camera = _to_screen_backward(p, camera, screen, (*v_uv, v_z), v_screen, v_camera)
            v_camera = _to_camera_space_backward(mean, v_p, v_camera)
            store(v_means, g, add(v_mean, rotate_back(camera.rotation, v_p)))
        _store_camera_gradient(v_inputs.camera, block, v_camera)


@kernel(forceinline=True)
def _sum_rows(v_rows, first, last):
    """Return the gradient of a record: of u v, half_a slope half_c, opacity, red green blue, z."""
    v_u, v_v, v_opacity, v_z = 0.0, 0.0, 0.0, 0.0
    v_conic, v_color = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    for row in range(first, last):
        v_u += v_rows[row, 0]
        v_v += v_rows[row, 1]
        v_conic = add(v_conic, (v_rows[row, 2], v_rows[row, 3], v_rows[row, 4]))
        v_opacity += v_rows[row, 5]
        v_color = add(v_color, (v_rows[row, 6], v_rows[row, 7], v_rows[row, 8]))
        v_z += v_rows[row, 9]
    return (v_u, v_v), v_conic, v_opacity, v_color, v_z


@kernel
def _clear(g, v_splats):
    """Write zero gradients for a Gaussian that is not drawn."""
    v_splats.opacities[g] = 0
    for v in (v_splats.means, v_splats.scales, v_splats.rotations, v_splats.colors, v_splats.cov3d):
        if v.shape[0]:
            v[g] = 0
    if v_splats.sh.shape[0]:
        v_splats.sh[g] = 0


@kernel(forceinline=True)
def _store_camera_gradient(v_cameras, block, v_camera):
    for i in range(3):
        for j in range(3):
            v_cameras[block, 3 * i + j] = v_camera.rotation[i][j]
        v_cameras[block, 9 + i] = v_camera.translation[i]
    for i in range(4):
        v_cameras[block, 12 + i] = v_camera.intrinsics[i]


# --- the camera, and the mean on the screen


class ToScreen(NamedTuple):
    """The affine approximation of the projection around a mean."""

    jacobian: tuple[float, ...]  # ju ku jv kv; its rows are (ju, 0, ku) and (0, jv, kv)
    row_u: tuple[float, ...]  # Jacobian x rotation
    row_v: tuple[float, ...]
    slopes: tuple[float, float]  # x / z and y / z, clamped
    inside: tuple[bool, bool]  # whether they were inside, and so have a gradient


@kernel(forceinline=True)
def _clamp_to_frustum(slope, focal, center, size):
    """Return the clamped slope and whether it is inside, where it has a gradient."""
    margin = FRUSTUM_MARGIN * size / (2 * focal)
    low, high = -center / focal - margin, (size - center) / focal + margin
    return min(max(slope, low), high), low <= slope <= high


@kernel(forceinline=True)
def _to_screen(p, camera):
    rotation, fx, fy = camera.rotation, camera.fx, camera.fy
    slope_x, inside_x = _clamp_to_frustum(p[0] / p[2], fx, camera.cx, camera.width)
    slope_y, inside_y = _clamp_to_frustum(p[1] / p[2], fy, camera.cy, camera.height)
    jacobian = (fx / p[2], -fx * slope_x / p[2], fy / p[2], -fy * slope_y / p[2])
    row_u = mix(jacobian[0], rotation[0], jacobian[1], rotation[2])
    row_v = mix(jacobian[2], rotation[1], jacobian[3], rotation[2])
    return ToScreen(jacobian, row_u, row_v, (slope_x, slope_y), (inside_x, inside_y))


@kernel(forceinline=True)
def _to_screen_backward(p, camera, screen, v_uvz, v_screen, v_camera):
    """Return the gradient of the mean in camera space, and v_camera with what does not pass through that.

    v_uvz: of the mean on the screen and its z; v_screen: of row_u and row_v.
    """
    (v_u, v_v, v_z), (v_row_u, v_row_v) = v_uvz, v_screen
    rotation, jacobian, slopes = camera.rotation, screen.jacobian, screen.slopes
    fx, fy, inv_z = camera.fx, camera.fy, 1 / p[2]
    # Of fx / z and -fx slope / z, and so for y.
    v_j_u, v_k_u = dot(v_row_u, rotation[0]), dot(v_row_u, rotation[2])
    v_j_v, v_k_v = dot(v_row_v, rotation[1]), dot(v_row_v, rotation[2])
    # Of x / z and y / z.
    v_slope_x = v_u * fx - (v_k_u * fx * inv_z if screen.inside[0] else 0.0)
    v_slope_y = v_v * fy - (v_k_v * fy * inv_z if screen.inside[1] else 0.0)
    v_z -= (v_slope_x * p[0] + v_slope_y * p[1]) * inv_z * inv_z
    v_z -= (fx * (v_j_u - v_k_u * slopes[0]) + fy * (v_j_v - v_k_v * slopes[1])) * inv_z * inv_z

    v_rotation, v_translation, (v_fx, v_fy, v_cx, v_cy) = v_camera
    v_rotation = (
        mix(1.0, v_rotation[0], jacobian[0], v_row_u),
        mix(1.0, v_rotation[1], jacobian[2], v_row_v),
        add(v_rotation[2], mix(jacobian[1], v_row_u, jacobian[3], v_row_v)),
    )
    v_fx += v_u * p[0] * inv_z + (v_j_u - v_k_u * slopes[0]) * inv_z
    v_fy += v_v * p[1] * inv_z + (v_j_v - v_k_v * slopes[1]) * inv_z
    v_camera = CameraGradient(v_rotation, v_translation, (v_fx, v_fy, v_cx + v_u, v_cy + v_v))
    return (v_slope_x * inv_z, v_slope_y * inv_z, v_z), v_camera


@kernel(forceinline=True)
def _to_camera_space_backward(mean, v_p, v_camera):
    """Return v_camera with the share that passes through p = rotation mean + translation."""
    rotation, translation, intrinsics = v_camera
    return CameraGradient(add_outer(rotation, v_p, mean), add(translation, v_p), intrinsics)


# --- the covariance on the screen


@kernel(forceinline=True)
def _covariance_of_axes(screen, q, scale):
    """Return xx xy yy, dilated, and their determinants after and before, of a quaternion and scales."""
    matrix = rotation_matrix(q)
    # The Gaussian's axes times their lengths, seen on the screen: rows of Jacobian x rotation x axes.
    axes_u = times(rotate_back(matrix, screen.row_u), scale)
    axes_v = times(rotate_back(matrix, screen.row_v), scale)
    # Binet-Cauchy: the determinant as a sum of squares, which does not cancel for needles.
    minors = (
        axes_u[1] * axes_v[2] - axes_u[2] * axes_v[1],
        axes_u[2] * axes_v[0] - axes_u[0] * axes_v[2],
        axes_u[0] * axes_v[1] - axes_u[1] * axes_v[0],
    )
    return _dilated(dot(axes_u, axes_u), dot(axes_u, axes_v), dot(axes_v, axes_v), dot(minors, minors))


@kernel(forceinline=True)
def _covariance_of_axes_backward(screen, q, norm, scale, v_cov):
    """Return the gradients of row_u and row_v, the quaternion before normalisation, and the scales."""
    (v_a, v_b, v_c), row_u, row_v = v_cov, screen.row_u, screen.row_v
    matrix = rotation_matrix(q)
    along_u, along_v = rotate_back(matrix, row_u), rotate_back(matrix, row_v)
    axes_u, axes_v = times(along_u, scale), times(along_v, scale)
    v_axes_u, v_axes_v = mix(2 * v_a, axes_u, v_b, axes_v), mix(2 * v_c, axes_v, v_b, axes_u)
    v_scale = add(times(along_u, v_axes_u), times(along_v, v_axes_v))
    # axes_u = (matrix diag(scale))^T row_u
    scaled_u, scaled_v = times(v_axes_u, scale), times(v_axes_v, scale)
    v_matrix = (
        mix(row_u[0], scaled_u, row_v[0], scaled_v),
        mix(row_u[1], scaled_u, row_v[1], scaled_v),
        mix(row_u[2], scaled_u, row_v[2], scaled_v),
    )
    v_screen = rotate(matrix, scaled_u), rotate(matrix, scaled_v)
    return v_screen, rotation_matrix_backward(q, norm, v_matrix), v_scale


@kernel(forceinline=True)
def _covariance_of_cov3d(screen, cov3d):
    """Return xx xy yy, dilated, and their determinants after and before, of a covariance matrix."""
    sigma_u, sigma_v = rotate(cov3d, screen.row_u), rotate(cov3d, screen.row_v)
    a, b, c = dot(screen.row_u, sigma_u), dot(screen.row_u, sigma_v), dot(screen.row_v, sigma_v)
    return _dilated(a, b, c, a * c - b * b)


@kernel(forceinline=True)
def _covariance_of_cov3d_backward(screen, cov3d, v_cov):
    """Return the gradients of row_u and row_v."""
    (v_a, v_b, v_c), row_u, row_v = v_cov, screen.row_u, screen.row_v
    sigma_u, sigma_v = rotate(cov3d, row_u), rotate(cov3d, row_v)
    return mix(2 * v_a, sigma_u, v_b, sigma_v), mix(2 * v_c, sigma_v, v_b, sigma_u)


@kernel(forceinline=True)
def _store_cov3d_gradient(v_cov3d, g, screen, v_cov):
    """Write the gradients of a Gaussian's xx xy xz yy yz zz."""
    (v_a, v_b, v_c), row_u, row_v = v_cov, screen.row_u, screen.row_v
    k = 0
    for i in range(3):
        for j in range(i, 3):
            v_ij = v_a * row_u[i] * row_u[j] + v_c * row_v[i] * row_v[j]
            v_ij += 0.5 * v_b * (row_u[i] * row_v[j] + row_u[j] * row_v[i])
            v_cov3d[g, k] = v_ij if i == j else 2 * v_ij
            k += 1


@kernel(forceinline=True)
def _symmetric(array, row):
    """Return the matrix of which a row holds xx xy xz yy yz zz."""
    xx, xy, xz = float(array[row, 0]), float(array[row, 1]), float(array[row, 2])
    yy, yz, zz = float(array[row, 3]), float(array[row, 4]), float(array[row, 5])
    return (xx, xy, xz), (xy, yy, yz), (xz, yz, zz)


@kernel(forceinline=True)
def _dilated(a, b, c, determinant):
    return a + DILATION, b, c + DILATION, determinant + DILATION * (a + c + DILATION), determinant


@kernel(forceinline=True)
def _compensation_backward(covariance, v_log):
    """Return the gradient of a, b, c through log sqrt(determinant before / after dilation), given its own."""
    a, b, c, determinant, sharp = covariance
    v_a = 0.5 * v_log * ((c - DILATION) / sharp - c / determinant)
    v_c = 0.5 * v_log * ((a - DILATION) / sharp - a / determinant)
    return v_a, v_log * b * (1 / determinant - 1 / sharp), v_c


@kernel(forceinline=True)
def _conic_backward(conic, v_conic):
    """Return the gradient of a, b, c; half_a = 0.5 / (a - b^2 / c), slope = b / c, half_c = 0.5 / c."""
    (half_a, slope, half_c), c = conic, 0.5 / conic[2]
    v_a = -2 * half_a * half_a * v_conic[0]
    v_b = v_conic[1] / c - 2 * slope * v_a
    v_c = slope * slope * v_a - v_conic[1] * slope / c - 2 * half_c * half_c * v_conic[2]
    return v_a, v_b, v_c


# --- colour


@kernel(forceinline=True)
def _view_direction(mean, camera):
    """Return the unit vector from the camera's centre to the mean, and their distance."""
    direction = add(mean, rotate_back(camera.rotation, camera.translation))
    length = math.sqrt(dot(direction, direction))
    return (direction[0] / length, direction[1] / length, direction[2] / length), length


@kernel(forceinline=True)
def _view_direction_backward(v_direction, camera, v_camera):
    """Return v_camera with the share that passes through direction = mean + rotation^T translation."""
    rotation, translation, intrinsics = v_camera
    translation = add(translation, rotate(camera.rotation, v_direction))
    return CameraGradient(add_outer(rotation, camera.translation, v_direction), translation, intrinsics)


@kernel(forceinline=True)
def _color_before_clamp(sh, g, direction, bases):
    """Return the colour of a Gaussian's harmonics; `bases` is scratch memory for as many."""
    sh_bases(direction, bases)
    red, green, blue = 0.0, 0.0, 0.0
    for k in range(sh.shape[1]):
        red += bases[k] * sh[g, k, 0]
        green += bases[k] * sh[g, k, 1]
        blue += bases[k] * sh[g, k, 2]
    return red + 0.5, green + 0.5, blue + 0.5


@kernel(forceinline=True)
def _clamp_backward(color, v):
    """Return the gradient before max(0, color)."""
    return (v[0] if color[0] > 0 else 0.0, v[1] if color[1] > 0 else 0.0, v[2] if color[2] > 0 else 0.0)


@kernel(forceinline=True)
def _color_backward(sh, g, v_color, direction, length, v_bases):
    """Return the gradient of the direction, before normalisation; `v_bases` is scratch memory."""
    for k in range(sh.shape[1]):
        v_bases[k] = sh[g, k, 0] * v_color[0] + sh[g, k, 1] * v_color[1] + sh[g, k, 2] * v_color[2]
    return sh_bases_backward(direction, length, v_bases)


@kernel(forceinline=True)
def _store_sh_gradient(v_sh, g, v_color, direction, bases):
    """Write the gradient of a Gaussian's harmonics."""
    sh_bases(direction, bases)
    for k in range(v_sh.shape[1]):
        for channel in range(3):
            v_sh[g, k, channel] = bases[k] * v_color[channel]
