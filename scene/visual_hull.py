"""Where the head can be at all: inside the mattes of all cameras (visual hull, Laurentini 1994)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from scene.cameras import Camera

INSIDE = 0.8  # share of the cameras in view of a point whose matte must hold it: poses and mattes are noisy
BATCH = 100_000
MAX_BATCHES = 200


def points_in_hull(
    cameras: Sequence[Camera],
    mattes: Sequence[Tensor],  # [H, W] each, in [0, 1]
    half_side: float,
    num_points: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw points [num_points, 3] uniformly from the part of the cube [-half_side, half_side]^3 in the hull.

    Raises ValueError where next to nothing of the cube is inside.
    """
    found, num_found = [], 0
    for _ in range(MAX_BATCHES):
        points = half_side * (2 * torch.rand(BATCH, 3, generator=generator) - 1)
        found.append(points[is_in_hull(points, cameras, mattes)])
        num_found += len(found[-1])
        if num_found >= num_points:
            return torch.cat(found)[:num_points]
    raise ValueError(f"visual hull: {num_found} of {MAX_BATCHES * BATCH} points are inside the mattes")


def is_in_hull(points: Tensor, cameras: Sequence[Camera], mattes: Sequence[Tensor]) -> Tensor:
    """Which points [P, 3] at least half of the cameras see, INSIDE of those on the person: bool [P]."""
    num_seen, num_inside = torch.zeros(len(points)), torch.zeros(len(points))
    for camera, matte in zip(cameras, mattes, strict=True):
        pose = camera.world_to_camera.cpu()
        x, y, z = (points @ pose[:3, :3].T + pose[:3, 3]).unbind(1)
        u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy  # pixels
        is_seen = (z > camera.near) & (u > 0) & (u < camera.width) & (v > 0) & (v < camera.height)
        grid = torch.stack([2 * u / camera.width - 1, 2 * v / camera.height - 1], dim=1)[None, None]
        sampled = F.grid_sample(matte.cpu()[None, None], grid, align_corners=False, padding_mode="border")
        num_seen += is_seen
        num_inside += is_seen & (sampled[0, 0, 0] > 0.5)
    return (num_seen >= 0.5 * len(cameras)) & (num_inside >= INSIDE * num_seen)
