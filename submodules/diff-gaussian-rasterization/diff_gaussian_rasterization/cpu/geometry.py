"""Projection and colour of Gaussians, and their gradients: numba kernels, one Gaussian at a time.

Computed in float64 (a few hundred operations per Gaussian; blending is what costs), so that needles and huge
Gaussians lose nothing. `splats` is a Splats of arrays; those that are absent have length 0. The names follow
reference.py, of which this is the explicit form: Zwicker et al. 2001, Eq. 29-31; Kerbl et al. 2023, Eq. 5-6.
Gradients: v_x = d loss / d x.

Records, one row per Gaussian, are what blending reads: u v (mean, pixels), half_a slope half_c (the inverse
covariance, completed to squares; see blending.py), opacity, red green blue, z, half_width half_height (of the
box around {alpha >= 1/255}), reach (its squared Mahalanobis distance).
"""

import math
from typing import NamedTuple

import numpy as np

from ..constants import ALPHA_MIN, DILATION, FRUSTUM_MARGIN
from .harmonics import sh_bases, sh_direction_gradient
from .threads import kernel

RECORD = 13  # columns of a record
BLOCK = 256  # Gaussians per block; one row of camera gradients for each
REACH_SLACK = 1e-3  # lists are a little too long rather than too short: blending decides in float32


@kernel(forceinline=True)
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel(forceinline=True)
def _mix(a, x, b, y):
    """Return a x + b y for vectors x, y."""
    return a * x[0] + b * y[0], a * x[1] + b * y[1], a * x[2] + b * y[2]


@kernel(forceinline=True)
def _vector(array, row):
    return float(array[row, 0]), float(array[row, 1]), float(array[row, 2])


@kernel(forceinline=True)
def _rotate(m, x):
    """Return m x for a matrix as a tuple of rows."""
    return _dot(m[0], x), _dot(m[1], x), _dot(m[2], x)


@kernel(forceinline=True)
def _rotate_back(m, x):
    """Return m^T x."""
    return (
        m[0][0] * x[0] + m[1][0] * x[1] + m[2][0] * x[2],
        m[0][1] * x[0] + m[1][1] * x[1] + m[2][1] * x[2],
        m[0][2] * x[0] + m[1][2] * x[1] + m[2][2] * x[2],
    )


@kernel(forceinline=True)
def _quaternion(rotations, g):
    """Return the normalised quaternion (w, x, y, z) of Gaussian g, and its former norm."""
    w, x, y, z = (
        float(rotations[g, 0]),
        float(rotations[g, 1]),
        float(rotations[g, 2]),
        float(rotations[g, 3]),
    )
    norm = math.sqrt(w * w + x * x + y * y + z * z)
    return (w / norm, x / norm, y / norm, z / norm), norm


@kernel(forceinline=True)
def _rotation_matrix(q):
    w, x, y, z = q
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


@kernel(forceinline=True)
def _quaternion_gradient(q, norm, v):
    """Return the gradient of the unnormalised quaternion from that of its rotation matrix (rows v)."""
    w, x, y, z = q
    v_w = 2 * (x * (v[2][1] - v[1][2]) + y * (v[0][2] - v[2][0]) + z * (v[1][0] - v[0][1]))
    v_x = 2 * (y * (v[0][1] + v[1][0]) + z * (v[0][2] + v[2][0]) + w * (v[2][1] - v[1][2]))
    v_x -= 4 * x * (v[1][1] + v[2][2])
    v_y = 2 * (x * (v[0][1] + v[1][0]) + z * (v[1][2] + v[2][1]) + w * (v[0][2] - v[2][0]))
    v_y -= 4 * y * (v[0][0] + v[2][2])
    v_z = 2 * (x * (v[0][2] + v[2][0]) + y * (v[1][2] + v[2][1]) + w * (v[1][0] - v[0][1]))
    v_z -= 4 * z * (v[0][0] + v[1][1])
    along = w * v_w + x * v_x + y * v_y + z * v_z
    return (
        (v_w - along * w) / norm,
        (v_x - along * x) / norm,
        (v_y - along * y) / norm,
        (v_z - along * z) / norm,
    )


@kernel(forceinline=True)
def _clamp_to_frustum(slope, focal, center, size):
    """Return the clamped slope and whether it is inside, where it has a gradient."""
    margin = FRUSTUM_MARGIN * size / (2 * focal)
    low, high = -center / focal - margin, (size - center) / focal + margin
    return min(max(slope, low), high), low <= slope <= high


@kernel(forceinline=True)
def _to_screen(p, rotation, intrinsics, width, height):
    """Return the Jacobian's four entries, the two rows of Jacobian x rotation, and the clamped slopes."""
    fx, fy, cx, cy = intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3]
    slope_x, inside_x = _clamp_to_frustum(p[0] / p[2], fx, cx, width)
    slope_y, inside_y = _clamp_to_frustum(p[1] / p[2], fy, cy, height)
    jacobian = (fx / p[2], -fx * slope_x / p[2], fy / p[2], -fy * slope_y / p[2])
    row_u = _mix(jacobian[0], rotation[0], jacobian[1], rotation[2])
    row_v = _mix(jacobian[2], rotation[1], jacobian[3], rotation[2])
    return jacobian, row_u, row_v, (slope_x, slope_y), (inside_x, inside_y)


@kernel(forceinline=True)
def _axes_on_screen(row, matrix, scale):
    """Return one row of (Jacobian x rotation) x (the Gaussian's axes times their lengths)."""
    x = _rotate_back(matrix, row)
    return x[0] * scale[0], x[1] * scale[1], x[2] * scale[2]


@kernel(forceinline=True)
def _times_cov3d(cov3d, g, x):
    xx, xy, xz = float(cov3d[g, 0]), float(cov3d[g, 1]), float(cov3d[g, 2])
    yy, yz, zz = float(cov3d[g, 3]), float(cov3d[g, 4]), float(cov3d[g, 5])
    return _dot((xx, xy, xz), x), _dot((xy, yy, yz), x), _dot((xz, yz, zz), x)


class Camera(NamedTuple):
    """A View as kernels take it."""

    world_to_camera: np.ndarray  # [4, 4] float64
    intrinsics: np.ndarray  # [4] float64
    width: int
    height: int
    near: float


@kernel(forceinline=True)
def _pose(world_to_camera):
    """Return the rotation's rows and the translation."""
    w = world_to_camera
    rotation = ((w[0, 0], w[0, 1], w[0, 2]), (w[1, 0], w[1, 1], w[1, 2]), (w[2, 0], w[2, 1], w[2, 2]))
    return rotation, (w[0, 3], w[1, 3], w[2, 3])


@kernel
def project_forward(first_block, last_block, splats, camera, records, radii):
    """Write the records of the Gaussians and their radii (0: not drawn, the record is undefined)."""
    means, opacities, scales, rotations, sh, colors, cov3d = splats
    world_to_camera, intrinsics, width, height, near = camera
    rotation, translation = _pose(world_to_camera)
    center = _rotate_back(rotation, translation)  # minus the camera centre
    bases = np.empty(max(1, sh.shape[1]))
    for g in range(first_block * BLOCK, min(last_block * BLOCK, means.shape[0])):
        radii[g] = 0
        mean = _vector(means, g)
        p = _mix(1.0, _rotate(rotation, mean), 1.0, translation)
        opacity = float(opacities[g])
        if not (p[2] > near and opacity >= ALPHA_MIN):
            continue
        u = intrinsics[0] * p[0] / p[2] + intrinsics[2]
        v = intrinsics[1] * p[1] / p[2] + intrinsics[3]

        _, row_u, row_v, _, _ = _to_screen(p, rotation, intrinsics, width, height)
        if scales.shape[0]:
            matrix = _rotation_matrix(_quaternion(rotations, g)[0])
            scale = _vector(scales, g)
            b_u, b_v = _axes_on_screen(row_u, matrix, scale), _axes_on_screen(row_v, matrix, scale)
            a, b, c = _dot(b_u, b_u), _dot(b_u, b_v), _dot(b_v, b_v)
            # Binet-Cauchy: the determinant as a sum of squares, which does not cancel for needles
            minor_x, minor_y = b_u[1] * b_v[2] - b_u[2] * b_v[1], b_u[2] * b_v[0] - b_u[0] * b_v[2]
            minor_z = b_u[0] * b_v[1] - b_u[1] * b_v[0]
            determinant = minor_x * minor_x + minor_y * minor_y + minor_z * minor_z
        else:
            sigma_u, sigma_v = _times_cov3d(cov3d, g, row_u), _times_cov3d(cov3d, g, row_v)
            a, b, c = _dot(row_u, sigma_u), _dot(row_u, sigma_v), _dot(row_v, sigma_v)
            determinant = a * c - b * b
        determinant += DILATION * (a + c + DILATION)
        a += DILATION
        c += DILATION

        red, green, blue = 0.0, 0.0, 0.0
        if colors.shape[0]:
            red, green, blue = _vector(colors, g)
        else:
            direction = _mix(1.0, mean, 1.0, center)
            length = math.sqrt(_dot(direction, direction))
            sh_bases(direction[0] / length, direction[1] / length, direction[2] / length, bases)
            for k in range(sh.shape[1]):
                red += bases[k] * sh[g, k, 0]
                green += bases[k] * sh[g, k, 1]
                blue += bases[k] * sh[g, k, 2]
            red, green, blue = red + 0.5, green + 0.5, blue + 0.5

        if not (math.isfinite(u + v + a + b + c + opacity + red + green + blue) and determinant > 0):
            continue
        reach = 2 * math.log(opacity / ALPHA_MIN)
        half_width, half_height = math.sqrt(reach * a), math.sqrt(reach * c)
        if not (
            u + half_width > 0 and u - half_width < width and v + half_height > 0 and v - half_height < height
        ):
            continue
        largest = (a + c) / 2 + math.hypot((a - c) / 2, b)
        radii[g] = int(min(math.ceil(3 * math.sqrt(largest)), 2147483520.0))
        reach += REACH_SLACK
        r = records[g]
        r[0], r[1] = u, v
        r[2], r[3], r[4] = 0.5 * c / determinant, b / c, 0.5 / c
        r[5] = opacity
        if not colors.shape[0]:
            red, green, blue = max(red, 0.0), max(green, 0.0), max(blue, 0.0)
        r[6], r[7], r[8], r[9] = red, green, blue, p[2]
        r[10], r[11], r[12] = math.sqrt(reach * a), math.sqrt(reach * c), reach


@kernel
def project_backward(
    first_block, last_block, splats, camera, records, rows, v_rows, v_splats, v_means2d, v_camera
):
    """Write the gradients of the Gaussians; those of g's record are the sum of v_rows[rows[g]:rows[g + 1]].

    v_splats and v_means2d: those of length 0 are not wanted, except of means and opacities, which always are.
    v_camera [blocks, 16]: a block's share in the gradient of rotation (9), translation (3), fx fy cx cy.
    """
    means, _, scales, rotations, sh, _, cov3d = splats
    v_means, v_opacities, v_scales, v_rotations, v_sh, v_colors, v_cov3d = v_splats
    world_to_camera, intrinsics, width, height, _ = camera
    rotation, translation = _pose(world_to_camera)
    center = _rotate_back(rotation, translation)
    bases, v_bases = np.empty(max(1, sh.shape[1])), np.empty(max(1, sh.shape[1]))
    fx, fy = intrinsics[0], intrinsics[1]
    v = np.empty(10)
    for block in range(first_block, last_block):
        v_rotation = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        v_translation = (0.0, 0.0, 0.0)
        v_fx, v_fy, v_cx, v_cy = 0.0, 0.0, 0.0, 0.0
        for g in range(block * BLOCK, min((block + 1) * BLOCK, means.shape[0])):
            if rows[g] == rows[g + 1]:
                _clear(g, v_splats)
                continue
            v[:] = 0.0
            for row in range(rows[g], rows[g + 1]):
                for k in range(10):
                    v[k] += v_rows[row, k]
            r = records[g]
            v_u, v_v, v_z = v[0], v[1], v[9]
            v_opacities[g] = v[5]
            if v_means2d.shape[0]:
                v_means2d[g, 0], v_means2d[g, 1] = v_u * width / 2, v_v * height / 2

            mean = _vector(means, g)
            p = _mix(1.0, _rotate(rotation, mean), 1.0, translation)
            v_mean = (0.0, 0.0, 0.0)
            if v_colors.shape[0]:
                v_colors[g, 0], v_colors[g, 1], v_colors[g, 2] = v[6], v[7], v[8]
            if sh.shape[0]:
                v_color = (v[6] if r[6] > 0 else 0.0, v[7] if r[7] > 0 else 0.0, v[8] if r[8] > 0 else 0.0)
                direction = _mix(1.0, mean, 1.0, center)
                length = math.sqrt(_dot(direction, direction))
                x, y, z = direction[0] / length, direction[1] / length, direction[2] / length
                if v_sh.shape[0]:
                    sh_bases(x, y, z, bases)
                    for k in range(sh.shape[1]):
                        for channel in range(3):
                            v_sh[g, k, channel] = bases[k] * v_color[channel]
                for k in range(sh.shape[1]):
                    v_bases[k] = (
                        sh[g, k, 0] * v_color[0] + sh[g, k, 1] * v_color[1] + sh[g, k, 2] * v_color[2]
                    )
                v_direction = sh_direction_gradient(x, y, z, v_bases)
                along = _dot(v_direction, (x, y, z))
                v_direction = _mix(1 / length, v_direction, -along / length, (x, y, z))
                # direction = mean + rotation^T translation
                v_mean = v_direction
                v_translation = _mix(1.0, v_translation, 1.0, _rotate(rotation, v_direction))
                v_rotation = _add_outer(v_rotation, translation, v_direction)

            # covariance on the screen from half_a = 0.5 / (a - b^2 / c), slope = b / c, half_c = 0.5 / c
            slope, c = r[3], 0.5 / r[4]
            v_a = -2 * r[2] * r[2] * v[2]
            v_b = v[3] / c - 2 * slope * v_a
            v_c = slope * slope * v_a - v[3] * slope / c - 2 * r[4] * r[4] * v[4]
            jacobian, row_u, row_v, slopes, inside = _to_screen(p, rotation, intrinsics, width, height)
            if scales.shape[0]:
                q, norm = _quaternion(rotations, g)
                matrix = _rotation_matrix(q)
                scale = _vector(scales, g)
                b_u, b_v = _axes_on_screen(row_u, matrix, scale), _axes_on_screen(row_v, matrix, scale)
                v_b_u, v_b_v = _mix(2 * v_a, b_u, v_b, b_v), _mix(2 * v_c, b_v, v_b, b_u)
                # b_u = (matrix diag(scale))^T row_u
                scaled_u = (v_b_u[0] * scale[0], v_b_u[1] * scale[1], v_b_u[2] * scale[2])
                scaled_v = (v_b_v[0] * scale[0], v_b_v[1] * scale[1], v_b_v[2] * scale[2])
                v_row_u, v_row_v = _rotate(matrix, scaled_u), _rotate(matrix, scaled_v)
                along_u, along_v = _rotate_back(matrix, row_u), _rotate_back(matrix, row_v)
                if v_scales.shape[0]:
                    for k in range(3):
                        v_scales[g, k] = along_u[k] * v_b_u[k] + along_v[k] * v_b_v[k]
                if v_rotations.shape[0]:
                    v_matrix = (
                        _mix(row_u[0], scaled_u, row_v[0], scaled_v),
                        _mix(row_u[1], scaled_u, row_v[1], scaled_v),
                        _mix(row_u[2], scaled_u, row_v[2], scaled_v),
                    )
                    v_q = _quaternion_gradient(q, norm, v_matrix)
                    for k in range(4):
                        v_rotations[g, k] = v_q[k]
            else:
                sigma_u, sigma_v = _times_cov3d(cov3d, g, row_u), _times_cov3d(cov3d, g, row_v)
                v_row_u, v_row_v = _mix(2 * v_a, sigma_u, v_b, sigma_v), _mix(2 * v_c, sigma_v, v_b, sigma_u)
                if v_cov3d.shape[0]:
                    k = 0
                    for i in range(3):
                        for j in range(i, 3):
                            v_ij = v_a * row_u[i] * row_u[j] + v_c * row_v[i] * row_v[j]
                            v_ij += 0.5 * v_b * (row_u[i] * row_v[j] + row_u[j] * row_v[i])
                            v_cov3d[g, k] = v_ij if i == j else 2 * v_ij
                            k += 1

            # rows of Jacobian x rotation
            v_rotation = (
                _mix(1.0, v_rotation[0], jacobian[0], v_row_u),
                _mix(1.0, v_rotation[1], jacobian[2], v_row_v),
                _mix(1.0, v_rotation[2], 1.0, _mix(jacobian[1], v_row_u, jacobian[3], v_row_v)),
            )
            inv_z = 1 / p[2]
            v_j_u, v_k_u = (
                _dot(v_row_u, rotation[0]),
                _dot(v_row_u, rotation[2]),
            )  # of fx / z and -fx slope / z
            v_j_v, v_k_v = _dot(v_row_v, rotation[1]), _dot(v_row_v, rotation[2])
            v_fx += v_u * p[0] * inv_z + (v_j_u - v_k_u * slopes[0]) * inv_z
            v_fy += v_v * p[1] * inv_z + (v_j_v - v_k_v * slopes[1]) * inv_z
            v_cx += v_u
            v_cy += v_v
            v_slope_x = v_u * fx - (v_k_u * fx * inv_z if inside[0] else 0.0)  # of x / z
            v_slope_y = v_v * fy - (v_k_v * fy * inv_z if inside[1] else 0.0)
            v_z -= (v_slope_x * p[0] + v_slope_y * p[1]) * inv_z * inv_z
            v_z -= (fx * (v_j_u - v_k_u * slopes[0]) + fy * (v_j_v - v_k_v * slopes[1])) * inv_z * inv_z
            v_p = (v_slope_x * inv_z, v_slope_y * inv_z, v_z)
            v_mean = _mix(1.0, v_mean, 1.0, _rotate_back(rotation, v_p))
            v_means[g, 0], v_means[g, 1], v_means[g, 2] = v_mean
            v_rotation = _add_outer(v_rotation, v_p, mean)
            v_translation = _mix(1.0, v_translation, 1.0, v_p)

        for i in range(3):
            for j in range(3):
                v_camera[block, 3 * i + j] = v_rotation[i][j]
            v_camera[block, 9 + i] = v_translation[i]
        v_camera[block, 12], v_camera[block, 13] = v_fx, v_fy
        v_camera[block, 14], v_camera[block, 15] = v_cx, v_cy


@kernel(forceinline=True)
def _add_outer(m, x, y):
    """Return m + x y^T."""
    return _mix(1.0, m[0], x[0], y), _mix(1.0, m[1], x[1], y), _mix(1.0, m[2], x[2], y)


@kernel
def _clear(g, v_splats):
    """Write zero gradients for a Gaussian that is not drawn."""
    v_splats.opacities[g] = 0
    for v in (v_splats.means, v_splats.scales, v_splats.rotations, v_splats.colors, v_splats.cov3d):
        if v.shape[0]:
            v[g] = 0
    if v_splats.sh.shape[0]:
        v_splats.sh[g] = 0
