"""Real spherical harmonics up to degree 3, and their gradient, as inline functions of kernels.

Order and signs are the 3DGS family's: degree by degree from order -l to l, with the Condon-Shortley phase.
"""

import math

from .threads import kernel
from .vectors import dot, mix

_C0 = 0.5 * math.sqrt(1 / math.pi)
_C1 = math.sqrt(3 / (4 * math.pi))
_C2A = 0.5 * math.sqrt(15 / math.pi)
_C2B = 0.25 * math.sqrt(5 / math.pi)
_C2C = 0.25 * math.sqrt(15 / math.pi)
_C3A = 0.25 * math.sqrt(35 / (2 * math.pi))
_C3B = 0.5 * math.sqrt(105 / math.pi)
_C3C = 0.25 * math.sqrt(21 / (2 * math.pi))
_C3D = 0.25 * math.sqrt(7 / math.pi)
_C3E = 0.25 * math.sqrt(105 / math.pi)


@kernel(forceinline=True)
def sh_bases(direction, bases):
    """Fill the real spherical harmonics at a unit direction, as many as `bases` has places for."""
    (x, y, z), num = direction, bases.shape[0]
    bases[0] = _C0
    if num > 1:
        bases[1], bases[2], bases[3] = -_C1 * y, _C1 * z, -_C1 * x
    if num > 4:
        xx, yy, zz = x * x, y * y, z * z
        bases[4], bases[5] = _C2A * x * y, -_C2A * y * z
        bases[6] = _C2B * (2 * zz - xx - yy)
        bases[7], bases[8] = -_C2A * x * z, _C2C * (xx - yy)
        if num > 9:
            bases[9] = -_C3A * y * (3 * xx - yy)
            bases[10] = _C3B * x * y * z
            bases[11] = -_C3C * y * (4 * zz - xx - yy)
            bases[12] = _C3D * z * (2 * zz - 3 * xx - 3 * yy)
            bases[13] = -_C3C * x * (4 * zz - xx - yy)
            bases[14] = _C3E * z * (xx - yy)
            bases[15] = -_C3A * x * (xx - 3 * yy)


@kernel(forceinline=True)
def sh_bases_backward(direction, length, v):
    """Return the gradient of the direction, before normalisation to `length`, from those of the bases, v."""
    (x, y, z), num = direction, v.shape[0]
    v_x, v_y, v_z = 0.0, 0.0, 0.0
    if num > 1:
        v_x, v_y, v_z = -_C1 * v[3], -_C1 * v[1], _C1 * v[2]
    if num > 4:
        v_x += _C2A * (y * v[4] - z * v[7]) - 2 * _C2B * x * v[6] + 2 * _C2C * x * v[8]
        v_y += _C2A * (x * v[4] - z * v[5]) - 2 * _C2B * y * v[6] - 2 * _C2C * y * v[8]
        v_z += -_C2A * (y * v[5] + x * v[7]) + 4 * _C2B * z * v[6]
    if num > 9:
        xx, yy, zz = x * x, y * y, z * z
        v_x += (
            -6 * _C3A * x * y * v[9]
            + _C3B * y * z * v[10]
            + 2 * _C3C * x * y * v[11]
            - 6 * _C3D * x * z * v[12]
        )
        v_x += (
            -_C3C * (4 * zz - 3 * xx - yy) * v[13] + 2 * _C3E * x * z * v[14] - 3 * _C3A * (xx - yy) * v[15]
        )
        v_y += -3 * _C3A * (xx - yy) * v[9] + _C3B * x * z * v[10] - _C3C * (4 * zz - xx - 3 * yy) * v[11]
        v_y += (
            -6 * _C3D * y * z * v[12]
            + 2 * _C3C * x * y * v[13]
            - 2 * _C3E * y * z * v[14]
            + 6 * _C3A * x * y * v[15]
        )
        v_z += _C3B * x * y * v[10] - 8 * _C3C * y * z * v[11] + 3 * _C3D * (2 * zz - xx - yy) * v[12]
        v_z += -8 * _C3C * x * z * v[13] + _C3E * (xx - yy) * v[14]
    v_unit = v_x, v_y, v_z
    return mix(1 / length, v_unit, -dot(v_unit, direction) / length, direction)
