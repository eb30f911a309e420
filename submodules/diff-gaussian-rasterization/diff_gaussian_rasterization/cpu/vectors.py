"""Inline functions of kernels: vectors as tuples of three floats, matrices as tuples of rows, quaternions as
(w, x, y, z)."""

import math

from .threads import kernel


@kernel(forceinline=True)
def vector(array, row):
    return float(array[row, 0]), float(array[row, 1]), float(array[row, 2])


@kernel(forceinline=True)
def store(array, row, x):
    array[row, 0], array[row, 1], array[row, 2] = x


@kernel(forceinline=True)
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel(forceinline=True)
def add(x, y):
    return x[0] + y[0], x[1] + y[1], x[2] + y[2]


@kernel(forceinline=True)
def times(x, y):
    """Return the products of the entries."""
    return x[0] * y[0], x[1] * y[1], x[2] * y[2]


@kernel(forceinline=True)
def mix(a, x, b, y):
    """Return a x + b y for vectors x, y."""
    return a * x[0] + b * y[0], a * x[1] + b * y[1], a * x[2] + b * y[2]


@kernel(forceinline=True)
def add_outer(m, x, y):
    """Return m + x y^T."""
    return mix(1.0, m[0], x[0], y), mix(1.0, m[1], x[1], y), mix(1.0, m[2], x[2], y)


@kernel(forceinline=True)
def rotate(m, x):
    """Return m x."""
    return dot(m[0], x), dot(m[1], x), dot(m[2], x)


@kernel(forceinline=True)
def rotate_back(m, x):
    """Return m^T x."""
    return (
        m[0][0] * x[0] + m[1][0] * x[1] + m[2][0] * x[2],
        m[0][1] * x[0] + m[1][1] * x[1] + m[2][1] * x[2],
        m[0][2] * x[0] + m[1][2] * x[1] + m[2][2] * x[2],
    )


@kernel(forceinline=True)
def normalized(array, row):
    """Return the quaternion in a row, normalised, and its former norm."""
    w, x, y, z = float(array[row, 0]), float(array[row, 1]), float(array[row, 2]), float(array[row, 3])
    norm = math.sqrt(w * w + x * x + y * y + z * z)
    return (w / norm, x / norm, y / norm, z / norm), norm


@kernel(forceinline=True)
def rotation_matrix(q):
    w, x, y, z = q
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


@kernel(forceinline=True)
def rotation_matrix_backward(q, norm, v):
    """Return the gradient of the quaternion before normalisation from that of its matrix, v."""
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
