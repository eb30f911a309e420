"""One set of SH coefficients per Gaussian out of coefficients that were decoded anew for every camera.

An avatar's decoder sees the view direction, so its SH coefficients change with the camera; a splat file
holds one set. Here they are fitted: the colour that a Gaussian shows along each of the given directions is
kept as well as constant coefficients can. The cameras of a clip span a narrow range of directions, which
leaves most combinations of coefficients undetermined; those stay at the mean of the decoded ones.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.spherical_harmonics import degree_of, sh_bases

# Pull towards the mean decoded coefficients, relative to one observation. The 16 bases of degree 3 have
# squared length 16 / (4 pi) = 1.3 in any direction: 1 % of the pull of the data, where the data says
# anything.
RIDGE = 0.01
# So many Gaussians are solved at once: 16 x 16 float64 systems, 34 MB.
_CHUNK = 16384


class DecodedSplats(Protocol):
    """The part of `Splats` that is used here."""

    means: Tensor  # [N, 3] world
    sh: Tensor  # [N, S, 3]

    def _replace(self, **fields: Any) -> "DecodedSplats": ...


class HasCenter(Protocol):
    """The part of `Camera` that is used here."""

    center: Tensor  # [3] world


Viewer = TypeVar("Viewer", bound=HasCenter)


@torch.no_grad()
def bake_sh(
    splats_per_camera: Sequence[DecodedSplats], cameras: Sequence[HasCenter], ridge: float = RIDGE
) -> Tensor:
    """Fit constant SH coefficients [N, S, 3] to splats of one expression, decoded once for each camera.

    Ridge regression per Gaussian: least squared error of the colour (before its clamp at 0) along the
    directions from the cameras, plus `ridge` x (squared distance to the mean decoded coefficients) per
    camera. Coefficients that do not change with the camera come back exactly; on the given directions the
    result is never worse than the mean.
    """
    if not splats_per_camera or len(splats_per_camera) != len(cameras):
        raise ValueError(f"expected splats for each camera, got {len(splats_per_camera)} for {len(cameras)}")
    num_splats = splats_per_camera[0].sh.shape[0]
    chunks = [slice(start, start + _CHUNK) for start in range(0, num_splats, _CHUNK)]
    views = list(zip(splats_per_camera, cameras, strict=True))
    baked = []
    for rows in chunks:
        sh = torch.stack([splats.sh[rows] for splats, _ in views])  # [V, n, S, 3]
        directions = [_directions(splats.means[rows], camera.center) for splats, camera in views]
        baked.append(_bake_chunk(sh, torch.stack(directions), ridge))
    return torch.cat(baked) if baked else splats_per_camera[0].sh.clone()


@torch.no_grad()
def baking_loss(
    splats_per_camera: Sequence[DecodedSplats],
    baked_sh: Tensor,
    cameras: Sequence[Viewer],
    render: Callable[[Viewer, Any], Tensor],
) -> float:
    """Compare renders with decoded and with baked SH [N, S, 3]: PSNR in dB over the pixels of all cameras.

    `render(camera, splats)` gives an image [3, H, W]; both are clamped to [0, 1]. Equal renders give
    infinity.
    """
    squared_errors = []
    for splats, camera in zip(splats_per_camera, cameras, strict=True):
        decoded = render(camera, splats).clamp(0, 1)
        baked = render(camera, splats._replace(sh=baked_sh)).clamp(0, 1)
        squared_errors.append((decoded - baked).square().mean())
    return float(-10 * torch.log10(torch.stack(squared_errors).mean()))


def _directions(means: Tensor, center: Tensor) -> Tensor:
    return F.normalize((means - center.to(means.device)).double(), dim=1)  # [n, 3]


def _bake_chunk(sh: Tensor, directions: Tensor, ridge: float) -> Tensor:
    """Solve for n Gaussians; sh [V, n, S, 3], directions [V, n, 3]; returns [n, S, 3].

    The unknown is the change of the mean: (B^T B + ridge V I) change = B^T (colour - B mean), in float64,
    since nearly parallel directions make B^T B nearly singular.
    """
    num_views, _, num_bases, _ = sh.shape
    bases = sh_bases(directions, degree_of(num_bases))  # [V, n, S]
    mean = sh.double().mean(dim=0)  # [n, S, 3]
    residual = torch.einsum("vns,vnsc->vnc", bases, sh.double() - mean)  # [V, n, 3]
    system = torch.einsum("vns,vnt->nst", bases, bases)
    system.diagonal(dim1=-2, dim2=-1).add_(ridge * num_views)
    change = torch.linalg.solve(system, torch.einsum("vns,vnc->nsc", bases, residual))
    return (mean + change).to(sh.dtype)
