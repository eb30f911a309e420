"""What holds Gaussians on one surface: a loss on how far, along the view, they lie off what is drawn.

A clip that turns by a few degrees hardly says how deep a Gaussian lies, and an optimiser that scales every
coordinate by its own gradients (Adam) lets depths drift. The surface is the expected depth of the rendering,
blurred: only what leaves its neighbourhood is pulled back. A departure from the published method.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from diff_gaussian_rasterization import Rasterization, Splats
from scene.cameras import Camera

MARGIN = 0.03  # world units off the surface that cost nothing: lids, lips and what is behind them
BLUR = 33  # pixels at a width of 512
SOLID = 0.5  # blurred alpha from which on there is a surface


def surface_loss(camera: Camera, splats: Splats, drawn: Rasterization) -> Tensor:
    """Mean distance (world units) of the Gaussians from the drawn surface along the view, beyond MARGIN.

    Only means get a gradient; those beside the surface or outside the image count as on it.
    """
    size = max(1, round(BLUR * camera.width / 1024)) * 2 + 1
    with torch.no_grad():
        maps = torch.stack([drawn.depth, drawn.alpha])[None]  # [1, 2, H, W]
        depth, alpha = F.avg_pool2d(maps, size, stride=1, padding=size // 2, count_include_pad=False)[0]
        surface = torch.stack([depth / alpha.clamp_min(1e-6), alpha])[None]
        pose = camera.world_to_camera
        x, y, z = (splats.means @ pose[:3, :3].T + pose[:3, 3]).unbind(1)
        u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy  # pixels
        grid = torch.stack([2 * u / camera.width - 1, 2 * v / camera.height - 1], dim=1).nan_to_num(2.0)
        there, solid = F.grid_sample(surface, grid[None, None], align_corners=False)[0, :, 0]  # [N]
        counts = (solid > SOLID) & (z > camera.near)
    depth_of_means = splats.means @ camera.world_to_camera[2, :3] + camera.world_to_camera[2, 3]
    excess = ((depth_of_means - there).abs() - MARGIN).clamp_min(0)
    return torch.where(counts, excess, 0).mean()
