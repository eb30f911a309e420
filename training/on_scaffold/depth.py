"""Depth of a mesh, drawn by torch on a GPU: `parametric_head.drawing.draw_depth` once more, its oracle.

Some forty views of a head are drawn before a run starts, for which sixteen threads of NumPy take two seconds,
as long as one does. On a CPU torch is no faster.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from parametric_head.drawing import EDGE_TOLERANCE, SMALLEST_AREA

# Pixels of boxes at a time: bounds memory.
_CHUNK = 1 << 18


def draw_depth_there(
    points: Tensor,  # [V, 3] float64, camera coordinates: x right, y down, z forward
    triangles: Tensor,  # [T, 3]
    focal: float,
    center: Sequence[float],  # pixels
    size: tuple[int, int],
    near: float = 1e-3,
) -> Tensor:  # [H, W] float32
    """Depth at every pixel's centre, infinite where nothing is seen. size: width and height."""
    width, height = size
    is_ahead = points[:, 2] > near
    inverse_depth = 1 / torch.where(is_ahead, points[:, 2], 1.0)
    triangles = triangles.long()
    x, y = (
        (focal * points[:, axis] * inverse_depth + float(center[axis]))[triangles].T  # [3, T]
        for axis in range(2)
    )
    left, right = _covered(x, width)
    top, bottom = _covered(y, height)
    # Twice the signed area.
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    is_drawn = (right > left) & (bottom > top) & (area.abs() > SMALLEST_AREA) & is_ahead[triangles].all(dim=1)
    chosen = is_drawn.nonzero()[:, 0]
    functions = _functions(x[:, chosen], y[:, chosen], area[chosen], inverse_depth[triangles[chosen]].T)
    boxes = torch.stack([left, top, right - left, bottom - top])[:, chosen]
    depth = points.new_full((height * width,), torch.inf, dtype=torch.float32)
    for some in _chunks(boxes[2] * boxes[3]):
        _draw_(depth, functions[..., some], boxes[:, some], width)
    return depth.view(height, width)


def _covered(corners: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and end of the pixels whose centres lie between a triangle's corners [3, T] along an axis."""
    first = (corners.amin(dim=0) - 0.5 - EDGE_TOLERANCE).clamp(0, size).ceil()
    end = (corners.amax(dim=0) - 0.5 + EDGE_TOLERANCE).clamp(-1, size - 1).floor() + 1
    return first.long(), end.long()


def _functions(x: Tensor, y: Tensor, area: Tensor, inverse_depth: Tensor) -> Tensor:  # [3, 3, T]
    """What is affine on the picture, value = (x, y, 1) @ column: second and third corner's weight, 1 / z."""

    def weight(a: int, b: int) -> Tensor:
        """Of the corner opposite to the edge from a to b."""
        slope_x, slope_y = (y[a] - y[b]) / area, (x[b] - x[a]) / area
        return torch.stack([slope_x, slope_y, -slope_x * x[a] - slope_y * y[a]])

    second, third = weight(2, 0), weight(0, 1)
    slopes = (inverse_depth[1] - inverse_depth[0]) * second + (inverse_depth[2] - inverse_depth[0]) * third
    slopes[2] += inverse_depth[0]
    return torch.stack([second, third, slopes])


def _chunks(counts: Tensor) -> Iterator[slice]:
    """Ranges of triangles [T] with so many pixels each, about `_CHUNK` of them together."""
    numbers = counts.cumsum(0).div(_CHUNK, rounding_mode="floor")
    start = 0
    for length in torch.unique_consecutive(numbers, return_counts=True)[1].tolist():
        yield slice(start, start + length)
        start += length


def _draw_(depth: Tensor, functions: Tensor, boxes: Tensor, width: int) -> None:
    """Lower `depth` [H W] by triangles with boxes [4, T]: left, top, width, height."""
    left, top, box_width, box_height = boxes
    counts = box_width * box_height
    owner = torch.repeat_interleave(counts)  # [P]
    within = torch.arange(len(owner), device=depth.device) - (counts.cumsum(0) - counts)[owner]
    row = within.div(box_width[owner], rounding_mode="floor")
    column = left[owner] + within - row * box_width[owner]
    row = top[owner] + row
    slope_x, slope_y, constant = functions.unbind(dim=1)  # [3, T]
    second, third, inverse_depth = (
        slope_x[:, owner] * (column + 0.5) + slope_y[:, owner] * (row + 0.5) + constant[:, owner]
    )
    smallest = torch.minimum(torch.minimum(second, third), 1 - second - third)
    # Without a look at how many lie inside, which would wait for the device.
    found = torch.where(smallest >= -EDGE_TOLERANCE, (1 / inverse_depth).float(), torch.inf)
    depth.scatter_reduce_(0, row * width + column, found, "amin")
