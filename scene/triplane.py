"""The tri-plane: three feature images that every Gaussian reads at K derived places.

Plane features are bilinear samples, multiplied over the three planes (K-planes' Hadamard product,
Fridovich-Keil et al. 2023). Doppelganger k reads its own block of C / K channels, so that the K views of one
Gaussian stay distinct.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The horizontal and the vertical axis of the planes xy, xz, yz.
PLANE_AXES = ((0, 1), (0, 2), (1, 2))


class TriPlane(nn.Module):
    """Planes [3, C, R, R] over the cube [-half_width, half_width]^3; outside, the border value continues."""

    def __init__(
        self,
        half_width: float,
        resolution: int = 64,
        num_channels: int = 32,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.half_width = half_width
        planes = torch.rand(3, num_channels, resolution, resolution, generator=generator)
        self.planes = nn.Parameter(0.1 + 0.4 * planes)

    def forward(self, points: Tensor) -> Tensor:
        """Features [N, C] of Gaussians whose K doppelgangers are at `points` [N, K, 3], in world units."""
        num_points, num_blocks = points.shape[:2]
        blocks = self.planes.unflatten(1, (num_blocks, -1)).flatten(0, 1)  # [3 K, C/K, R, R]
        axes = (points / self.half_width).permute(2, 1, 0)  # [3, K, N]: x, y, z
        grid = torch.stack([torch.stack([axes[i], axes[j]], dim=-1) for i, j in PLANE_AXES])  # [3, K, N, 2]
        grid = grid.view(3 * num_blocks, 1, num_points, 2)
        # On the CPU, torch's backward writes out of bounds where a coordinate is NaN.
        grid = grid.nan_to_num(0.0)
        samples = F.grid_sample(blocks, grid, mode="bilinear", padding_mode="border", align_corners=True)
        # Each [C, N], block after block.
        xy, xz, yz = samples.view(3, -1, num_points)
        return (xy * xz * yz).t()  # [N, C]
