"""Which splats each tile draws: a sort by depth, and a list for every tile. numba kernels.

A splat is in the list of a tile where its outline {alpha >= 1/255} meets the rows and columns of pixel
centres of that tile, with the slack of geometry.py: no tile is missed, few are in vain. Gradients get one row
per entry, so that threads never add to the same place; the rows of a Gaussian lie together and are summed in
a fixed order.
"""

import math
from typing import NamedTuple

import numpy as np

from .threads import kernel

TILE_WIDTH, TILE_HEIGHT = 16, 16
TILE_PIXELS = TILE_WIDTH * TILE_HEIGHT


class Lists(NamedTuple):
    """Which splats each tile draws, and where the P entries of these lists put their gradients."""

    tile_starts: np.ndarray  # [tiles + 1]: tile t has the entries tile_starts[t] to tile_starts[t + 1]
    splats: np.ndarray  # [P] index of the Gaussian
    rows: np.ndarray  # [P] row of gradients
    row_starts: np.ndarray  # [N + 1]: Gaussian g has the rows row_starts[g] to row_starts[g + 1]


@kernel
def depth_order(records, radii):
    """Return the drawn splats from front to back, by float32 z, stable: radix sort, 3 passes of 11 bits."""
    num = 0
    for g in range(radii.shape[0]):
        num += radii[g] > 0
    order, other = np.empty(num, np.int32), np.empty(num, np.int32)
    depths = np.empty(radii.shape[0], np.float32)
    num = 0
    for g in range(radii.shape[0]):
        depths[g] = records[g, 9]
        if radii[g] > 0:
            order[num] = g
            num += 1
    # Positive floats sort like their bits.
    keys = depths.view(np.uint32)
    for shift in (0, 11, 22):
        starts = np.zeros(2049, np.int64)
        for g in order:
            starts[((keys[g] >> shift) & 2047) + 1] += 1
        starts = np.cumsum(starts)
        for g in order:
            digit = (keys[g] >> shift) & 2047
            other[starts[digit]] = g
            starts[digit] += 1
        order, other = other, order
    return order


@kernel
def bin_splats(records, order, width, height):
    """List the splats of every tile of a width x height image, in the order of `order`."""
    tiles_x = (width + TILE_WIDTH - 1) // TILE_WIDTH
    tiles_y = (height + TILE_HEIGHT - 1) // TILE_HEIGHT
    num_spans = 0
    for g in order:
        first_y, last_y = _tile_rows(records, g, height)
        num_spans += last_y - first_y
    # First and last + 1 tile of a splat in a row of tiles.
    spans = np.empty((num_spans, 2), np.int32)
    tile_starts = np.zeros(tiles_x * tiles_y + 1, np.int64)
    row_starts = np.zeros(records.shape[0] + 1, np.int64)
    span = 0
    for g in order:
        first_y, last_y = _tile_rows(records, g, height)
        for tile_y in range(first_y, last_y):
            first_x, last_x = _tile_columns(records, g, tile_y, width)
            spans[span, 0], spans[span, 1] = first_x, last_x
            span += 1
            row_starts[g + 1] += last_x - first_x
            for tile_x in range(first_x, last_x):
                tile_starts[tile_y * tiles_x + tile_x + 1] += 1
    tile_starts, row_starts = np.cumsum(tile_starts), np.cumsum(row_starts)

    splats, rows = np.empty(tile_starts[-1], np.int32), np.empty(tile_starts[-1], np.int64)
    ends = tile_starts.copy()
    span = 0
    for g in order:
        row = row_starts[g]
        first_y, last_y = _tile_rows(records, g, height)
        for tile_y in range(first_y, last_y):
            for tile_x in range(spans[span, 0], spans[span, 1]):
                entry = ends[tile_y * tiles_x + tile_x]
                ends[tile_y * tiles_x + tile_x] += 1
                splats[entry], rows[entry] = g, row
                row += 1
            span += 1
    return Lists(tile_starts, splats, rows, row_starts)


@kernel(forceinline=True)
def _tile_rows(records, g, height):
    """Return the first and last + 1 row of tiles that the box around the splat meets."""
    v, half_height = records[g, 1], records[g, 11]
    first = math.ceil(min(max(v - half_height - 0.5, 0.0), float(height)))
    last = math.floor(max(min(v + half_height - 0.5, height - 1.0), -1.0))
    if first > last:
        return 0, 0
    return first // TILE_HEIGHT, last // TILE_HEIGHT + 1


@kernel(forceinline=True)
def _tile_columns(records, g, tile_y, width):
    """Return the first and last + 1 tile in a row of tiles that the splat's outline meets."""
    u, v, half_a, slope, half_c = records[g, 0], records[g, 1], records[g, 2], records[g, 3], records[g, 4]
    half_width, half_height, reach = records[g, 10], records[g, 11], records[g, 12]
    top = max(tile_y * TILE_HEIGHT + 0.5 - v, -half_height)
    bottom = min(tile_y * TILE_HEIGHT + TILE_HEIGHT - 0.5 - v, half_height)
    if top > bottom:
        return 0, 0
    # The outline's rightmost point is at height y_right, its leftmost at -y_right; both sides are convex.
    y_right = slope * (0.5 / half_c) * reach / half_width
    y = min(max(y_right, top), bottom)
    right = slope * y + math.sqrt(max(0.0, (reach - 2 * half_c * y * y) / (2 * half_a)))
    y = min(max(-y_right, top), bottom)
    left = slope * y - math.sqrt(max(0.0, (reach - 2 * half_c * y * y) / (2 * half_a)))
    first = math.ceil(min(max(u + left - 0.5, 0.0), float(width)))
    last = math.floor(max(min(u + right - 0.5, width - 1.0), -1.0))
    if first > last:
        return 0, 0
    return first // TILE_WIDTH, last // TILE_WIDTH + 1
