"""The specification: plain PyTorch, differentiated by autograd.

On the CPU everything is computed in float64, elsewhere (where this back-end stands in for a missing one) in
the dtype of the input. Tiles only save work: every pixel sees every Gaussian whose alpha can reach ALPHA_MIN
there.

Sources: Zwicker et al. 2001 (EWA splatting, Eq. 29-31), Kerbl et al. 2023 (3D Gaussian Splatting, Eq. 3-6).
"""

import functools
import math
import sys
from typing import NamedTuple

import torch
from torch import Tensor

from .constants import ALPHA_MAX, ALPHA_MIN, DILATION, FRUSTUM_MARGIN, TRANSMITTANCE_MIN
from .types import Rasterization, Splats, View


class Projected(NamedTuple):
    """Gaussians on the screen; `opacities` are those that are drawn."""

    means: Tensor  # [N, 2] pixels
    cov: Tensor  # [N, 3] xx xy yy in pixels^2, dilated
    depths: Tensor  # [N] camera z
    colors: Tensor  # [N, 3]
    opacities: Tensor  # [N]


def rasterize(
    splats: Splats,
    view: View,
    background: Tensor,
    means2d: Tensor | None = None,
    order: Tensor | None = None,
) -> Rasterization:
    """Draw checked input. `order` (for tests) lists the Gaussians front to back, instead of the sort by z."""
    device, dtype = splats.means.device, splats.means.dtype
    if device.type == "cpu":
        compute, tile = torch.float64, 16
    else:
        _notice(device.type)
        compute, tile = dtype, 32
    splats = Splats(*(None if t is None else t.to(compute) for t in splats))
    view = view._replace(
        world_to_camera=view.world_to_camera.to(compute), intrinsics=view.intrinsics.to(compute)
    )
    background = background.to(compute)

    with torch.no_grad():
        projected = project(splats, view)
        drawn, radii = visibility(projected, view)
        if order is None:
            order = torch.argsort(projected.depths, stable=True)
        order = order[drawn[order]]
    # Rows that are not drawn are left out before anything differentiable happens: their gradients are exactly
    # zero, whatever they hold.
    projected = project(Splats(*(None if t is None else t[order] for t in splats)), view)
    if means2d is not None:
        to_pixels = projected.means.new_tensor([view.width / 2, view.height / 2])
        offset = means2d.to(compute)[order, :2]
        projected = projected._replace(means=projected.means + (offset - offset.detach()) * to_pixels)
    if view.inverse_depth:
        projected = projected._replace(depths=1 / projected.depths)
    image, depth, alpha = blend(projected, view, background, tile)
    return Rasterization(image.to(dtype), depth.to(dtype), alpha.to(dtype), radii)


def project(splats: Splats, view: View) -> Projected:
    """Project Gaussians, the perspective approximated affinely around each (Zwicker et al. 2001, Eq. 29)."""
    rotation, translation = view.world_to_camera[:3, :3], view.world_to_camera[:3, 3]
    fx, fy, cx, cy = view.intrinsics.unbind()
    x, y, z = (splats.means @ rotation.T + translation).unbind(1)  # [N] each
    means = torch.stack([fx * x / z + cx, fy * y / z + cy], 1)  # [N, 2]

    slope_x = _clamp_to_frustum(x / z, fx, cx, view.width)
    slope_y = _clamp_to_frustum(y / z, fy, cy, view.height)
    zero = torch.zeros_like(z)
    rows = [fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z]
    jacobian = torch.stack(rows, 1).view(-1, 2, 3)
    to_screen = jacobian @ rotation  # [N, 2, 3]
    cov = to_screen @ _cov3d(splats) @ to_screen.transpose(1, 2)  # [N, 2, 2]
    sharp = torch.stack([cov[:, 0, 0], cov[:, 0, 1], cov[:, 1, 1]], 1)
    cov = sharp + sharp.new_tensor([DILATION, 0, DILATION])
    opacities = splats.opacities * compensation(sharp, cov) if view.antialiased else splats.opacities

    colors = splats.colors
    if colors is None:
        center = -rotation.T @ translation
        direction = splats.means - center
        direction = direction / direction.norm(dim=1, keepdim=True)
        bases = sh_bases(direction, splats.sh.shape[1])  # [N, S]
        colors = _relu((bases[:, :, None] * splats.sh).sum(1) + 0.5)
    return Projected(means, cov, z, colors, opacities)


def compensation(sharp: Tensor, dilated: Tensor) -> Tensor:
    """Return the factor [N] of opacity that undoes how heavy dilation of its covariance [N, 3] makes a splat:
    the square root of the determinants' ratio (Yu et al. 2024, Mip-Splatting: 2D Mip filter)."""
    before, after = (cov[:, 0] * cov[:, 2] - cov[:, 1] ** 2 for cov in (sharp, dilated))
    # Whatever is cut here is invisible; at 0 the root has no gradient.
    return (before / after).clamp(min=1e-12).sqrt()


def visibility(p: Projected, view: View) -> tuple[Tensor, Tensor]:
    """Return which Gaussians are drawn (bool [N]) and their radii (int32 [N], 0 where not drawn).

    Drawn: in front of the near plane, all values finite, and the box around {alpha >= 1/255} overlaps the
    image.
    """
    values = torch.cat([p.means, p.cov, p.depths[:, None], p.colors, p.opacities[:, None]], 1)
    half_width, half_height = extent(p).unbind(1)
    x, y = p.means.unbind(1)
    drawn = values.isfinite().all(1) & (p.depths > view.near) & (p.opacities >= ALPHA_MIN)
    drawn &= (x + half_width > 0) & (x - half_width < view.width)
    drawn &= (y + half_height > 0) & (y - half_height < view.height)
    xx, xy, yy = p.cov.unbind(1)
    largest = (xx + yy) / 2 + torch.hypot((xx - yy) / 2, xy)
    radii = torch.ceil(3 * largest.sqrt()).clamp(max=2**31 - 128)
    return drawn, torch.where(drawn, radii, 0).to(torch.int32)


def extent(p: Projected) -> Tensor:
    """Return half the width and height [N, 2] of the box around {alpha >= 1/255}, in pixels."""
    # Squared Mahalanobis distance.
    reach = 2 * torch.log(p.opacities.clamp(min=ALPHA_MIN) / ALPHA_MIN)  # [N]
    return (reach[:, None] * p.cov[:, ::2]).sqrt()


def blend(p: Projected, view: View, background: Tensor, tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """Blend Gaussians, given front to back, into image [3, H, W], depth [H, W] and alpha [H, W]."""
    with torch.no_grad():
        half = extent(p) + 1e-3
        low, high = p.means - half, p.means + half  # [N, 2]
    bands = []
    for top in range(0, view.height, tile):
        bottom = min(top + tile, view.height)
        in_band = (high[:, 1] > top) & (low[:, 1] < bottom)
        strips = []
        for left in range(0, view.width, tile):
            right = min(left + tile, view.width)
            inside = in_band & (high[:, 0] > left) & (low[:, 0] < right)
            part = Projected(*(t[inside] for t in p))
            ys = torch.arange(top, bottom, device=half.device) + 0.5
            xs = torch.arange(left, right, device=half.device) + 0.5
            pixels = torch.cartesian_prod(ys, xs).flip(1).to(half.dtype)  # [P, 2] x, y
            strips.append(blend_pixels(part, pixels, background).view(5, bottom - top, right - left))
        bands.append(torch.cat(strips, 2))
    channels = torch.cat(bands, 1)  # [5, H, W]
    return channels[:3], channels[3], channels[4]


def blend_pixels(p: Projected, pixels: Tensor, background: Tensor) -> Tensor:
    """Return red, green, blue, depth and alpha [5, P] at pixel centres [P, 2] (Kerbl et al. 2023, Eq. 3)."""
    dx, dy = (pixels[:, None] - p.means).unbind(2)  # [P, N]
    xx, xy, yy = p.cov.unbind(1)
    # x^T cov^-1 x, completed to squares: stays accurate for needles, where the usual expansion cancels.
    distance = (dx - xy / yy * dy) ** 2 / (xx - xy * xy / yy) + dy**2 / yy
    alpha = p.opacities * torch.exp(-0.5 * distance)
    alpha = torch.where(alpha < ALPHA_MIN, 0.0, alpha.clamp(max=ALPHA_MAX))
    # Transmittance behind each splat.
    after = torch.cumprod(1 - alpha, 1)
    alpha = torch.where(after < TRANSMITTANCE_MIN, 0.0, alpha)
    after = torch.cumprod(1 - alpha, 1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)[:, : after.shape[1]]
    weights = alpha * before  # [P, N]
    final = after[:, -1] if after.shape[1] else torch.ones_like(pixels[:, 0])
    color = (weights @ p.colors).T + background[:, None] * final  # [3, P]
    return torch.cat([color, (weights @ p.depths)[None], 1 - final[None]])


def sh_bases(direction: Tensor, num_bases: int) -> Tensor:
    """Return real spherical harmonics [N, num_bases] at unit directions [N, 3], signs as in the family."""
    x, y, z = direction.unbind(1)
    xx, yy, zz = x * x, y * y, z * z
    bases = [
        torch.full_like(x, 0.5 * math.sqrt(1 / math.pi)),
        -math.sqrt(3 / (4 * math.pi)) * y,
        math.sqrt(3 / (4 * math.pi)) * z,
        -math.sqrt(3 / (4 * math.pi)) * x,
        0.5 * math.sqrt(15 / math.pi) * x * y,
        -0.5 * math.sqrt(15 / math.pi) * y * z,
        0.25 * math.sqrt(5 / math.pi) * (2 * zz - xx - yy),
        -0.5 * math.sqrt(15 / math.pi) * x * z,
        0.25 * math.sqrt(15 / math.pi) * (xx - yy),
        -0.25 * math.sqrt(35 / (2 * math.pi)) * y * (3 * xx - yy),
        0.5 * math.sqrt(105 / math.pi) * x * y * z,
        -0.25 * math.sqrt(21 / (2 * math.pi)) * y * (4 * zz - xx - yy),
        0.25 * math.sqrt(7 / math.pi) * z * (2 * zz - 3 * xx - 3 * yy),
        -0.25 * math.sqrt(21 / (2 * math.pi)) * x * (4 * zz - xx - yy),
        0.25 * math.sqrt(105 / math.pi) * z * (xx - yy),
        -0.25 * math.sqrt(35 / (2 * math.pi)) * x * (xx - 3 * yy),
    ]
    return torch.stack(bases[:num_bases], 1)


def _cov3d(splats: Splats) -> Tensor:
    """Return the covariances [N, 3, 3] in world space (Kerbl et al. 2023, Eq. 6)."""
    if splats.cov3d is not None:
        return splats.cov3d[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].view(-1, 3, 3)
    w, x, y, z = (splats.rotations / splats.rotations.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    # Columns: axes times lengths.
    axes = torch.stack(rows, 1).view(-1, 3, 3) * splats.scales[:, None, :]
    return axes @ axes.transpose(1, 2)


def _clamp_to_frustum(slope: Tensor, focal: Tensor, center: Tensor, size: int) -> Tensor:
    """Clamp x / z to a little outside the image, where the approximation still holds; no gradient beyond."""
    focal, center = focal.detach(), center.detach()
    margin = FRUSTUM_MARGIN * size / (2 * focal)
    return torch.minimum(torch.maximum(slope, -center / focal - margin), (size - center) / focal + margin)


def _relu(colors: Tensor) -> Tensor:
    """max(0, colors), except that what is not finite stays so, to be found by visibility()."""
    return torch.where((colors < 0) & colors.isfinite(), 0.0, colors)


@functools.cache
def _notice(device_type: str) -> None:
    text = f"drawing on {device_type} with plain PyTorch, which is slow"
    print(f"diff_gaussian_rasterization: {text}", file=sys.stderr)
