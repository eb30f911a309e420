"""HOW splats become pictures: one function over the rasterizer package.

    render(camera, splats, background) -> image [3, H, W], depth [H, W], alpha [H, W], radii [N]

The camera may be anything with world_to_camera, fx, fy, cx, cy, width, height and near
(`scene.cameras.Camera`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from diff_gaussian_rasterization import Rasterization, Splats, View, rasterize
from utils.rotations import quaternion_to_matrix
from utils.spherical_harmonics import eval_sh


@dataclass(frozen=True)
class Pipeline:
    """Parts that Python computes instead of the rasterizer; slower, for debugging."""

    convert_shs_python: bool = False
    compute_cov3d_python: bool = False


def render(
    camera,
    splats: Splats,
    background: Tensor,
    *,
    means2d: Tensor | None = None,
    pipeline: Pipeline = Pipeline(),
) -> Rasterization:
    """Draw splats over a background colour [3]. `means2d` [N, 3], a leaf of zeros, receives the gradient with
    respect to the screen-space means in NDC units, which densification reads."""
    world_to_camera = camera.world_to_camera.to(splats.means.device)
    intrinsics = torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy], device=splats.means.device)
    view = View(world_to_camera, intrinsics, camera.width, camera.height, camera.near)
    if pipeline.convert_shs_python:
        splats = splats._replace(colors=_colors_seen_from(camera, splats), sh=None)
    if pipeline.compute_cov3d_python:
        splats = splats._replace(cov3d=_covariances(splats), scales=None, rotations=None)
    return rasterize(splats, view, background, means2d=means2d)


def _colors_seen_from(camera, splats: Splats) -> Tensor:
    directions = torch.nn.functional.normalize(splats.means - camera.center, dim=1)
    return (eval_sh(splats.sh, directions) + 0.5).clamp_min(0)  # [N, 3]


def _covariances(splats: Splats) -> Tensor:
    """R S S^T R^T (Eq. 6 of Kerbl et al. 2023) as xx xy xz yy yz zz: [N, 6]."""
    factor = quaternion_to_matrix(splats.rotations) * splats.scales[:, None, :]  # [N, 3, 3]
    covariance = factor @ factor.transpose(1, 2)
    rows, columns = torch.triu_indices(3, 3)
    return covariance[:, rows, columns]
