"""The 3DGS family's names on top of `rasterize`, so that existing code switches by installing this.

The rasterizers of that family agree on names and on image and radii, and differ in what comes after: RETURNS
has the variants in use. Which one code was written for is told once, by $GAUSSIAN_RASTERIZER_API or
set_interface(); "auto", the default, looks at the settings: those with `antialiasing`, in use since October
2024, get three values, those without get the two of 2023.
"""

import os
from typing import NamedTuple

import torch
from torch import Tensor, nn

from . import cuda
from .api import choose_backend, rasterize
from .types import Rasterization, Splats, View

# Interface -> what a call returns: image [3, H, W], radii int32 [N], and of [1, H, W] each
# depth (sum of weight x camera z), inverse_depth (sum of weight / camera z), alpha (1 - final transmittance).
RETURNS = {
    "2023": ("image", "radii"),
    "2024-10": ("image", "radii", "inverse_depth"),
    "depth": ("image", "radii", "depth"),
    "depth-alpha": ("image", "radii", "depth", "alpha"),
    "depth-alpha-radii": ("image", "depth", "alpha", "radii"),
}
VARIABLE = "GAUSSIAN_RASTERIZER_API"
_chosen: str | None = None


def set_interface(name: str | None) -> None:
    """Choose what every GaussianRasterizer of this process returns: a key of RETURNS, or "auto".

    None: as $GAUSSIAN_RASTERIZER_API says, else "auto". Raises ValueError for another name.
    """
    global _chosen
    _chosen = None if name is None else _checked(name, "set_interface")


class GaussianRasterizationSettings(NamedTuple):
    """One camera and the options of a rendering, with the family's field names.

    The matrices may have a leading 1, as callers have them who made them by `bmm`.
    """

    image_height: int
    image_width: int
    tanfovx: float
    tanfovy: float
    bg: Tensor  # [3]
    scale_modifier: float
    viewmatrix: Tensor  # [4, 4] world to camera, transposed
    projmatrix: Tensor  # [4, 4] world to clip space (projection x view), transposed
    sh_degree: int
    campos: Tensor  # [3]; not read: the camera centre follows from viewmatrix
    prefiltered: bool = False
    debug: bool = False
    antialiasing: bool | None = None  # None: written before there was such a field


class GaussianRasterizer(nn.Module):
    """Draws Gaussians as the family's class of this name does; what it returns is told by RETURNS."""

    def __init__(self, raster_settings: GaussianRasterizationSettings):
        super().__init__()
        self.raster_settings = raster_settings

    def markVisible(self, positions: Tensor) -> Tensor:
        """Return which positions [N, 3] lie in front of the near plane, as bool [N]."""
        with torch.no_grad():
            view = view_from_settings(self.raster_settings)
            z = positions @ view.world_to_camera[2, :3] + view.world_to_camera[2, 3]
            return z > view.near

    def forward(
        self,
        means3D: Tensor,  # [N, 3]
        means2D: Tensor | None,  # [N, 3] zeros; receives the gradient in NDC units
        opacities: Tensor,  # [N, 1]
        shs: Tensor | None = None,  # [N, S, 3]
        colors_precomp: Tensor | None = None,  # [N, 3]
        scales: Tensor | None = None,  # [N, 3]
        rotations: Tensor | None = None,  # [N, 4]
        cov3D_precomp: Tensor | None = None,  # [N, 6]
    ) -> tuple[Tensor, ...]:
        """Return what the interface's line of RETURNS names."""
        settings = self.raster_settings
        names = RETURNS[interface_of(settings)]
        modifier = settings.scale_modifier
        splats = Splats(
            means3D,
            opacities,
            scales=scales if scales is None or modifier == 1 else scales * modifier,
            rotations=rotations,
            sh=None if shs is None else _of_degree(shs, settings.sh_degree),
            colors=colors_precomp,
            cov3d=cov3D_precomp,
        )
        view = view_from_settings(settings)
        view = view._replace(antialiased=bool(settings.antialiasing), inverse_depth="inverse_depth" in names)
        result = rasterize(splats, view, settings.bg, means2d=means2D)
        return tuple(_value(result, name) for name in names)


def interface_of(settings: GaussianRasterizationSettings) -> str:
    """Return the key of RETURNS that holds for these settings."""
    name = _chosen or _checked(os.environ.get(VARIABLE) or "auto", f"${VARIABLE}")
    if name == "auto":
        return "2023" if settings.antialiasing is None else "2024-10"
    return name


def _checked(name: str, where: str) -> str:
    if name != "auto" and name not in RETURNS:
        raise ValueError(f"{where}: expected auto, {', '.join(RETURNS)}, got {name!r}")
    return name


def _value(result: Rasterization, name: str) -> Tensor:
    if name in ("image", "radii"):
        return getattr(result, name)
    return (result.alpha if name == "alpha" else result.depth)[None]


def view_from_settings(settings: GaussianRasterizationSettings) -> View:
    """Recover the camera, with its focal lengths and principal point in pixels, from the family's two
    matrices.

    Clip space has w = camera z, and NDC -1..1 spans the image, so that u = (x_clip / z + 1) width / 2.
    """
    viewmatrix, projmatrix = _matrix(settings.viewmatrix), _matrix(settings.projmatrix)
    if _fits_kernel(viewmatrix) and _fits_kernel(projmatrix):
        return cuda.family_view(viewmatrix, projmatrix, settings.image_width, settings.image_height)
    world_to_camera = viewmatrix.T
    projection = projmatrix.T @ torch.linalg.inv(world_to_camera)  # [4, 4] camera to clip
    projection = projection / projection[3, 2]
    width, height = settings.image_width, settings.image_height
    intrinsics = torch.stack(
        [
            projection[0, 0] * (width / 2),
            projection[1, 1] * (height / 2),
            (projection[0, 2] + 1) * (width / 2),
            (projection[1, 2] + 1) * (height / 2),
        ]
    )
    return View(world_to_camera, intrinsics, width, height)


def _fits_kernel(matrix: Tensor) -> bool:
    """Whether one kernel may stand in for a dozen small operations: no gradient is wanted."""
    return (
        matrix.is_cuda
        and matrix.dtype is torch.float32
        and not matrix.requires_grad
        and choose_backend(matrix.device, None) == "cuda"
    )


def _of_degree(shs: Tensor, degree: int) -> Tensor:
    bases = (degree + 1) ** 2
    return shs if shs.shape[1] == bases else shs[:, :bases]


def _matrix(matrix: Tensor) -> Tensor:
    """Return [4, 4] of a matrix that may have a leading 1."""
    return matrix[0] if matrix.ndim == 3 and matrix.shape[0] == 1 else matrix
