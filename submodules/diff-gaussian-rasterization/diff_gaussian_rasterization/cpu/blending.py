"""Blending of tiles: numba kernels, forward and backward.

A tile's pixels are one flat array, so that the innermost loop runs over consecutive pixels of whole rows, and
LLVM vectorises it. The state of a tile (transmittance, colours, ...) lives in one small buffer, a plane of
TILE_PIXELS values for each quantity: with a single base pointer and constant distances LLVM can prove that
the planes do not overlap.

Records (float64 [N, RECORD]) come from geometry.py; its columns are named there. With x, y relative to the
mean, the exponent is -(half_a * (x - slope * y)^2 + half_c * y^2): the quadratic form completed to squares,
which does not cancel for needles. Backward walks front to back again, with the same decisions: what is behind
a splat is the total minus what has been seen so far, so nothing needs to be stored per pixel.
"""

import math
from typing import NamedTuple

import numpy as np

from ..constants import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from .threads import kernel
from .tiles import TILE_HEIGHT, TILE_PIXELS, TILE_WIDTH

# Where the planes of a buffer begin. Unsigned, and so is the index added to them: numba tests signed ones for
# negative values, even in the innermost loop.
_P1, _P2, _P3, _P4, _P5, _P6, _P7 = (np.uintp(k * TILE_PIXELS) for k in range(1, 8))


class Images(NamedTuple):
    """What is drawn, or its gradient."""

    image: np.ndarray  # [3, H, W]
    depth: np.ndarray  # [H, W]
    alpha: np.ndarray  # [H, W]


_f32 = np.float32
_ALPHA_MIN, _ALPHA_MAX, _T_MIN = _f32(ALPHA_MIN), _f32(ALPHA_MAX), _f32(TRANSMITTANCE_MIN)
_ZERO, _ONE = _f32(0), _f32(1)
# Exponents below are invisible: ALPHA_MIN needs -5.54 at opacity 1.
_LOWEST = _f32(-8)
_EIGHTH = _f32(0.125)
# exp on [-1, 0]: Chebyshev interpolation of degree 6, relative error 2e-8
_EXP = np.polynomial.Chebyshev.interpolate(np.exp, 6, [-1, 0]).convert(kind=np.polynomial.Polynomial)
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (_f32(c) for c in _EXP.coef)


@kernel(forceinline=True)
def splat_alpha(x, y, half_a, slope, half_c, opacity):
    """Return (x - slope y, alpha before cap and cut) of a splat at an offset from its mean.

    Used by both directions, compiled without fast-math, so that both take the same decisions. exp is a
    polynomial, as LLVM does not vectorise calls of libm.
    """
    d = x - slope * y
    p = max(-(half_a * d * d + half_c * y * y), _LOWEST) * _EIGHTH
    e = _E0 + p * (_E1 + p * (_E2 + p * (_E3 + p * (_E4 + p * (_E5 + p * _E6)))))
    e *= e
    e *= e
    e *= e
    return d, opacity * e


@kernel(forceinline=True)
def blend_step(t, a):
    """Return (weight, new transmittance) at alpha `a`; transmittance is negative once a pixel has ended."""
    capped = min(a, _ALPHA_MAX)
    after = t - t * capped
    weight = t * capped if after >= _T_MIN else _ZERO
    ended = after if after >= _T_MIN else -abs(t)
    return weight if a >= _ALPHA_MIN else _ZERO, ended if a >= _ALPHA_MIN else t


@kernel(forceinline=True)
def _pixel_range(v, half_height):
    """Return the range of flat pixels in the rows that a splat can touch; v is relative to the tile."""
    first = math.ceil(min(max(v - half_height, 0.0), float(TILE_HEIGHT)))
    last = math.floor(max(min(v + half_height, TILE_HEIGHT - 1.0), first - 1.0))
    return first * TILE_WIDTH, (last + 1) * TILE_WIDTH


@kernel(fastmath=True)
def _all_done(buffer):
    live = _ZERO
    for i in range(TILE_PIXELS):
        live = max(live, buffer[i])
    return live <= _ZERO


@kernel(fastmath={"contract"})
def blend_forward(first_tile, last_tile, records, lists, background, images):
    """Blend tiles into `images`, over background [3]."""
    tile_starts, splats, _, _ = lists
    image, depth, alpha = images
    height, width = depth.shape
    tiles_x = (width + TILE_WIDTH - 1) // TILE_WIDTH
    P = TILE_PIXELS
    # transmittance (negative: the pixel has ended), red, green, blue, depth; column, row
    buffer = np.empty(7 * P, np.float32)
    for i in range(P):
        buffer[5 * P + i] = i % TILE_WIDTH
        buffer[6 * P + i] = i // TILE_WIDTH
    for tile in range(first_tile, last_tile):
        left, top = (tile % tiles_x) * TILE_WIDTH, (tile // tiles_x) * TILE_HEIGHT
        for i in range(P):
            inside = left + i % TILE_WIDTH < width and top + i // TILE_WIDTH < height
            buffer[i] = _ONE if inside else -_ONE
        buffer[P : 5 * P] = _ZERO
        for entry in range(tile_starts[tile], tile_starts[tile + 1]):
            if (entry - tile_starts[tile]) % 8 == 7 and _all_done(buffer):
                break
            r = records[splats[entry]]
            u, v = _f32(r[0] - left - 0.5), _f32(r[1] - top - 0.5)
            half_a, slope, half_c, opacity = _f32(r[2]), _f32(r[3]), _f32(r[4]), _f32(r[5])
            red, green, blue, z = _f32(r[6]), _f32(r[7]), _f32(r[8]), _f32(r[9])
            begin, end = _pixel_range(r[1] - top - 0.5, r[11])
            for i in range(np.uintp(begin), np.uintp(end)):
                t = buffer[i]
                x, y = buffer[_P5 + i] - u, buffer[_P6 + i] - v
                _, a = splat_alpha(x, y, half_a, slope, half_c, opacity)
                w, buffer[i] = blend_step(t, a)
                buffer[_P1 + i] += w * red
                buffer[_P2 + i] += w * green
                buffer[_P3 + i] += w * blue
                buffer[_P4 + i] += w * z
        for row in range(min(TILE_HEIGHT, height - top)):
            for column in range(min(TILE_WIDTH, width - left)):
                i = row * TILE_WIDTH + column
                t = abs(buffer[i])
                y, x = top + row, left + column
                for c in range(3):
                    image[c, y, x] = buffer[(c + 1) * P + i] + t * background[c]
                depth[y, x] = buffer[4 * P + i]
                alpha[y, x] = _ONE - t


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _begin_backward(buffer, left, top, images, v_images):
    """Fill a tile's transmittance (-1: outside the image), gradients, and what the loss holds of a pixel."""
    image, depth, alpha = images
    v_image, v_depth, v_alpha = v_images
    height, width = depth.shape
    P = TILE_PIXELS
    buffer[:P] = -_ONE
    for row in range(min(TILE_HEIGHT, height - top)):
        for column in range(min(TILE_WIDTH, width - left)):
            i = row * TILE_WIDTH + column
            y, x = top + row, left + column
            rest = depth[y, x] * v_depth[y, x] - (_ONE - alpha[y, x]) * v_alpha[y, x]
            for c in range(3):
                rest += image[c, y, x] * v_image[c, y, x]
                buffer[(c + 1) * P + i] = v_image[c, y, x]
            buffer[i] = _ONE
            buffer[4 * P + i] = v_depth[y, x]
            buffer[7 * P + i] = rest


@kernel(fastmath={"contract", "reassoc", "nsz"})
def blend_backward(first_tile, last_tile, records, lists, images, v_images, v_rows):
    """Write the gradients of every entry of the tiles' lists to its row of v_rows [P, ROW].

    With total = sum of w_i v_i + T v_background and v_i = <colour_i, v_image> + z_i v_depth, the gradient of
    alpha_i is T_i v_i - rest_i / (1 - alpha_i), where rest_i is what the total holds behind splat i.
    Undivided: with "reassoc", moving lines into a function changes the sums' order, and so their last digits.
    """
    tile_starts, splats, rows, _ = lists
    tiles_x = (images.depth.shape[1] + TILE_WIDTH - 1) // TILE_WIDTH
    P = TILE_PIXELS
    # Planes: transmittance, v_image (3), v_depth; column, row; rest.
    buffer = np.zeros(8 * P, np.float32)
    for i in range(P):
        buffer[5 * P + i] = i % TILE_WIDTH
        buffer[6 * P + i] = i // TILE_WIDTH
    for tile in range(first_tile, last_tile):
        left, top = (tile % tiles_x) * TILE_WIDTH, (tile // tiles_x) * TILE_HEIGHT
        _begin_backward(buffer, left, top, images, v_images)
        done = False
        for entry in range(tile_starts[tile], tile_starts[tile + 1]):
            row_index = rows[entry]
            if (entry - tile_starts[tile]) % 8 == 7 and not done:
                done = _all_done(buffer)
            if done:
                v_rows[row_index] = _ZERO
                continue
            r = records[splats[entry]]
            u, v = _f32(r[0] - left - 0.5), _f32(r[1] - top - 0.5)
            half_a, slope, half_c, opacity = _f32(r[2]), _f32(r[3]), _f32(r[4]), _f32(r[5])
            red, green, blue, z = _f32(r[6]), _f32(r[7]), _f32(r[8]), _f32(r[9])
            begin, end = _pixel_range(r[1] - top - 0.5, r[11])
            sum_1, sum_d, sum_y, sum_dd, sum_dy, sum_yy = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
            v_red, v_green, v_blue, v_z = _ZERO, _ZERO, _ZERO, _ZERO
            for i in range(np.uintp(begin), np.uintp(end)):
                t = buffer[i]
                x, y = buffer[_P5 + i] - u, buffer[_P6 + i] - v
                d, a = splat_alpha(x, y, half_a, slope, half_c, opacity)
                w, buffer[i] = blend_step(t, a)
                g_r, g_g, g_b, g_z = buffer[_P1 + i], buffer[_P2 + i], buffer[_P3 + i], buffer[_P4 + i]
                value = red * g_r + green * g_g + blue * g_b + z * g_z
                rest = buffer[_P7 + i] - w * value
                buffer[_P7 + i] = rest
                # gradient of the exponent; none where skipped or capped
                g = a * (t * value - rest / (_ONE - min(a, _ALPHA_MAX)))
                g = g if w > _ZERO else _ZERO
                g = g if a < _ALPHA_MAX else _ZERO
                v_red += w * g_r
                v_green += w * g_g
                v_blue += w * g_b
                v_z += w * g_z
                g_d, g_y = g * d, g * y
                sum_1 += g
                sum_d += g_d
                sum_y += g_y
                sum_dd += g_d * d
                sum_dy += g_d * y
                sum_yy += g_y * y
            v_rows[row_index, 0] = 2 * half_a * sum_d
            v_rows[row_index, 1] = 2 * (half_c * sum_y - half_a * slope * sum_d)
            v_rows[row_index, 2] = -sum_dd
            v_rows[row_index, 3] = 2 * half_a * sum_dy
            v_rows[row_index, 4] = -sum_yy
            v_rows[row_index, 5] = sum_1 / opacity
            v_rows[row_index, 6] = v_red
            v_rows[row_index, 7] = v_green
            v_rows[row_index, 8] = v_blue
            v_rows[row_index, 9] = v_z
