"""A triangle mesh as pictures: depth, which triangle, and values of its vertices; plain numpy.

Camera axes are OpenCV's: x right, y down, z forward. The centre of pixel i lies at i + 0.5, as for
`preparation.geometry.rigid.project`. Triangles are drawn from both sides.

Most triangles of a head cover few pixels. So all rows of all their bounding boxes are laid out side by side,
those of one width at a time, and an unbuffered minimum per pixel keeps what is nearest.
"""

from typing import NamedTuple

import numpy as np

# A pixel centre on an edge belongs to both triangles: rounding must not open a gap between them.
EDGE_TOLERANCE = 1e-9
# Square pixels; what is smaller is seen from the side and covers nothing.
SMALLEST_AREA = 1e-9
# Pixels of boxes at a time: bounds memory, and fits a cache.
_CHUNK = 1 << 16


class Drawn(NamedTuple):
    """What is seen at every pixel's centre."""

    # Along z, not along the ray; infinite where nothing is seen.
    depth: np.ndarray  # [H, W] float32
    # -1 where nothing is seen.
    triangle: np.ndarray  # [H, W] int32
    # Of the point in space: perspective-correct. Zero where nothing is seen.
    barycentric: np.ndarray  # [H, W, 3] float32


class _Flat(NamedTuple):
    """What is affine over a triangle's picture: value = (x, y, 1) @ column."""

    # Weights of two corners, on the picture.
    second: np.ndarray  # [3, T]
    third: np.ndarray  # [3, T]
    inverse_depth: np.ndarray  # [3, T]


def draw_mesh(
    points: np.ndarray,  # [V, 3] camera coordinates
    triangles: np.ndarray,  # [T, 3]
    focal: float,
    center: np.ndarray,  # [2] pixels
    size: tuple[int, int],
    near: float = 1e-3,
) -> Drawn:
    """Draw a mesh with a z-buffer. size: width and height.

    A triangle with a corner nearer than `near` is left out whole. At equal depth the first one is seen.
    """
    drawn = _drawable(points, triangles, focal, center, size, near)
    seen = np.flatnonzero(drawn.nearest != _NOTHING)
    number = (drawn.nearest[seen] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return _resolve(drawn.flat, drawn.inverse_depth, drawn.chosen, number, seen, size)


def draw_depth(
    points: np.ndarray,  # [V, 3] camera coordinates
    triangles: np.ndarray,  # [T, 3]
    focal: float,
    center: np.ndarray,  # [2] pixels
    size: tuple[int, int],
    near: float = 1e-3,
) -> np.ndarray:  # [H, W] float32
    """The depth that `draw_mesh` gives, to rounding, without the rest."""
    nearest = _drawable(points, triangles, focal, center, size, near).nearest
    depth = (nearest >> np.uint64(32)).astype(np.uint32).view(np.float32)
    depth[nearest == _NOTHING] = np.inf
    return depth.reshape(size[1], size[0])


class _Drawable(NamedTuple):
    """Of a mesh's triangles those T that may be seen."""

    chosen: np.ndarray  # [T] of the mesh
    flat: "_Flat"
    inverse_depth: np.ndarray  # [3, T] of the corners
    nearest: np.ndarray  # [H W] as `_nearest` gives it


def _drawable(
    points: np.ndarray,
    triangles: np.ndarray,
    focal: float,
    center: np.ndarray,
    size: tuple[int, int],
    near: float,
) -> _Drawable:
    """Project a mesh, keep what covers a pixel's centre or may do so, and find what is nearest there."""
    width, height = size
    z = points[:, 2].astype(np.float64)
    is_ahead = z > near
    inverse_depth = 1 / np.where(is_ahead, z, 1.0)
    pixels = focal * points[:, :2].T * inverse_depth + np.reshape(center, (2, 1))  # [2, V]
    corners = np.ascontiguousarray(triangles.T)  # [3, T]
    x, y = pixels[0][corners], pixels[1][corners]
    left, right = _covered(x, width)
    top, bottom = _covered(y, height)
    # Twice the signed area.
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    is_drawn = (right > left) & (bottom > top) & (abs(area) > SMALLEST_AREA) & is_ahead[corners].all(axis=0)
    chosen = np.flatnonzero(is_drawn)
    inverse_depth = inverse_depth[corners[:, chosen]]
    flat = _flatten(x[:, chosen], y[:, chosen], area[chosen], inverse_depth)
    boxes = np.stack([left, top, right - left, bottom - top])[:, chosen]
    return _Drawable(chosen, flat, inverse_depth, _nearest(flat, boxes, size))


def interpolate(drawn: Drawn, triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of vertices [V, C] at every pixel: [H, W, C] float32, zero where nothing is seen."""
    picture = np.zeros((*drawn.triangle.shape, values.shape[1]), np.float32)
    seen = drawn.triangle >= 0
    corners = values[triangles[drawn.triangle[seen]]]  # [S, 3, C]
    picture[seen] = np.einsum("sk,skc->sc", drawn.barycentric[seen], corners)
    return picture


# Depth's bits above the triangle's number: as unsigned numbers they compare as (depth, number) does.
_NOTHING = np.uint64(0xFFFFFFFFFFFFFFFF)


def _covered(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First and end of the pixels whose centres lie between a triangle's corners [3, T] along an axis."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    first = np.ceil(np.clip(low - 0.5 - EDGE_TOLERANCE, 0, size))
    end = np.floor(np.clip(high - 0.5 + EDGE_TOLERANCE, -1, size - 1)) + 1
    return first.astype(np.int32), end.astype(np.int32)


def _flatten(x: np.ndarray, y: np.ndarray, area: np.ndarray, inverse_depth: np.ndarray) -> _Flat:
    """Affine functions of the picture, for corners [3, T] of triangles with twice their signed areas [T]."""

    def weight(a: int, b: int) -> np.ndarray:
        """Of the corner opposite to the edge from a to b."""
        slope_x, slope_y = (y[a] - y[b]) / area, (x[b] - x[a]) / area
        return np.stack([slope_x, slope_y, -slope_x * x[a] - slope_y * y[a]])

    second, third = weight(2, 0), weight(0, 1)
    # 1 / z is affine on the picture.
    from_first = inverse_depth[1:] - inverse_depth[0]
    slopes = from_first[0] * second + from_first[1] * third
    slopes[2] += inverse_depth[0]
    return _Flat(second, third, slopes)


def _nearest(flat: _Flat, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:  # [H * W] uint64
    """Depth's bits and number of each pixel's nearest triangle. boxes: left, top, width, height [4, T]."""
    nearest = np.full(size[0] * size[1], _NOTHING)
    _, _, box_width, box_height = boxes
    order = np.argsort(box_width, kind="stable")
    heights = box_height[order]
    # Whose a row is, and which row of the picture.
    owner = np.repeat(order, heights)
    row = np.arange(len(owner)) + np.repeat(boxes[1, order] + heights - np.cumsum(heights), heights)
    widths, counts = np.unique(box_width[owner], return_counts=True)
    end = 0
    for row_width, count in zip(widths.tolist(), counts.tolist(), strict=True):
        start, end = end, end + count
        step = max(1, _CHUNK // row_width)
        for at in range(start, end, step):
            some = slice(at, min(at + step, end))
            _draw_rows(nearest, flat, boxes[0], owner[some], row[some], row_width, size[0])
    return nearest


def _draw_rows(
    nearest: np.ndarray,
    flat: _Flat,
    left: np.ndarray,  # [T]
    owner: np.ndarray,  # [R]
    row: np.ndarray,  # [R]
    row_width: int,
    width: int,
) -> None:
    """Lower `nearest` by rows of boxes, all of one width; their pixels are [w, R]."""
    x, y = left[owner] + 0.5, row + 0.5
    steps = np.arange(row_width)[:, None]

    def evaluate(functions: np.ndarray) -> np.ndarray:  # [w, R]
        slope_x, slope_y, constant = (part[owner] for part in functions)
        return steps * slope_x + (slope_x * x + slope_y * y + constant)

    second, third = evaluate(flat.second), evaluate(flat.third)
    smallest = np.minimum(np.minimum(second, third), 1 - second - third)
    step, inside = np.nonzero(smallest >= -EDGE_TOLERANCE)
    owner, row = owner[inside], row[inside]
    column = left[owner] + step
    inverse_depth = _evaluate(flat.inverse_depth[:, owner], column + 0.5, row + 0.5)
    bits = (1 / inverse_depth).astype(np.float32).view(np.uint32).astype(np.uint64)
    np.minimum.at(nearest, row * width + column, (bits << np.uint64(32)) | owner.astype(np.uint64))


def _evaluate(functions: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:  # [3, S] -> [S]
    return functions[0] * x + functions[1] * y + functions[2]


def _resolve(
    flat: _Flat,
    inverse_depth: np.ndarray,  # [3, T]
    chosen: np.ndarray,  # [T] of the mesh
    number: np.ndarray,  # [S] of the T that were drawn
    seen: np.ndarray,  # [S] pixels
    size: tuple[int, int],
) -> Drawn:
    """Depth and perspective-correct weights of the pixels that are seen."""
    width, height = size
    y, x = np.divmod(seen, width)
    x, y = x + 0.5, y + 0.5
    second, third = _evaluate(flat.second[:, number], x, y), _evaluate(flat.third[:, number], x, y)
    weights = np.stack([1 - second - third, second, third]) * inverse_depth[:, number]  # [3, S]
    total = weights.sum(axis=0)
    triangle = np.full((height, width), -1, np.int32)
    depth = np.full((height, width), np.inf, np.float32)
    barycentric = np.zeros((height, width, 3), np.float32)
    triangle.flat[seen] = chosen[number]
    depth.flat[seen] = 1 / total
    barycentric.reshape(-1, 3)[seen] = (weights / total).T
    return Drawn(depth, triangle, barycentric)
