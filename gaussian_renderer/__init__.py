"""HOW splats become pictures: one function over the rasterizer package.

    render(camera, splats, background) -> image [3, H, W], depth [H, W], alpha [H, W], radii [N]

The camera may be anything with world_to_camera [4, 4], intrinsics [4], width, height and near
(`scene.cameras.Camera`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from arguments import PipelineParams
from diff_gaussian_rasterization import Rasterization, Splats, View, rasterize
from utils.rotations import packed_covariances, quaternion_to_matrix
from utils.spherical_harmonics import sh_to_rgb

RASTERIZER_ONLY = PipelineParams()


def render(
    camera,
    splats: Splats,
    background: Tensor,
    *,
    means2d: Tensor | None = None,
    pipeline: PipelineParams = RASTERIZER_ONLY,
) -> Rasterization:
    """Draw splats over a background colour [3]. `means2d` [N, 3], a leaf of zeros, receives the gradient with
    respect to the screen-space means in NDC units, which densification reads.

    V cameras of one size, in a list, draw splats [V, N, ...]; results and `means2d` then have a leading V.
    """
    # A camera may be a tuple, too.
    if not hasattr(camera, "world_to_camera"):
        return _render_views(camera, splats, background, means2d, pipeline)
    world_to_camera = camera.world_to_camera.to(splats.means.device)
    intrinsics = camera.intrinsics.to(splats.means.device)
    view = View(world_to_camera, intrinsics, camera.width, camera.height, camera.near)
    if pipeline.convert_SHs_python:
        splats = splats._replace(colors=_colors_seen_from(world_to_camera, splats), sh=None)
    if pipeline.compute_cov3D_python:
        covariances = packed_covariances(quaternion_to_matrix(splats.rotations), splats.scales)
        splats = splats._replace(cov3d=covariances, scales=None, rotations=None)
    drawn = rasterize(splats, view, background, means2d=means2d)
    if pipeline.debug:
        _check_finite("splats", splats)
        _check_finite("rendering", drawn)
    return drawn


def _render_views(
    cameras: Sequence, splats: Splats, background: Tensor, means2d: Tensor | None, pipeline: PipelineParams
) -> Rasterization:
    first, device = cameras[0], splats.means.device
    if pipeline == RASTERIZER_ONLY:
        poses = torch.stack([camera.world_to_camera.to(device) for camera in cameras])
        intrinsics = torch.stack([camera.intrinsics.to(device) for camera in cameras])
        view = View(poses, intrinsics, first.width, first.height, first.near)
        return rasterize(splats, view, background, means2d=means2d)
    drawn = [
        render(
            camera,
            Splats(*(None if part is None else part[i] for part in splats)),
            background,
            means2d=None if means2d is None else means2d[i],
            pipeline=pipeline,
        )
        for i, camera in enumerate(cameras)
    ]
    return Rasterization(*map(torch.stack, zip(*drawn)))


def _check_finite(what: str, tensors: Splats | Rasterization) -> None:
    for name, tensor in tensors._asdict().items():
        if tensor is not None and not tensor.isfinite().all():
            count = int((~tensor.isfinite()).sum())
            raise FloatingPointError(f"{what}: {name}: {count} of {tensor.numel()} numbers are not finite")


def _colors_seen_from(world_to_camera: Tensor, splats: Splats) -> Tensor:
    center = -world_to_camera[:3, :3].T @ world_to_camera[:3, 3]
    directions = torch.nn.functional.normalize(splats.means - center, dim=1)
    return sh_to_rgb(splats.sh, directions)  # [N, 3]
