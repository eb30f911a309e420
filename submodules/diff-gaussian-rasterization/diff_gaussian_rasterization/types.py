"""What goes into and comes out of `rasterize`. Letters: N Gaussians, S SH bases, H W image, B views.

Several views at once: a View whose camera has a leading B; Splats [N, ...], which all views share, or
[B, N, ...], a set for each view (tensors may be mixed); results and `means2d` then have a leading B.
"""

from typing import NamedTuple

from torch import Tensor


class Splats(NamedTuple):
    """Gaussians to draw, activated values: `sh` or `colors`, and `scales` with `rotations` or `cov3d`."""

    means: Tensor  # [N, 3] world
    opacities: Tensor  # [N] or [N, 1], in [0, 1]
    scales: Tensor | None = None  # [N, 3] world units, standard deviations
    rotations: Tensor | None = None  # [N, 4] quaternions wxyz, normalised inside
    sh: Tensor | None = None  # [N, S, 3], S in 1, 4, 9, 16: colour = max(0, SH(direction) + 0.5)
    colors: Tensor | None = None  # [N, 3], taken as they are
    cov3d: Tensor | None = None  # [N, 6] covariances: xx xy xz yy yz zz


class View(NamedTuple):
    """A pinhole camera. Pixel i spans [i, i + 1): the middle of the image is (width / 2, height / 2).

    `antialiased`: the dilation by 0.3 px^2 makes small splats larger and so heavier; in return their opacity
    is multiplied by sqrt(determinant before / after) (Yu et al. 2024, Mip-Splatting: 2D Mip filter).
    `inverse_depth`: `depth` of the result is the sum of weight / camera z.
    """

    world_to_camera: Tensor  # [4, 4] or [B, 4, 4] rigid; OpenCV axes: x right, y down, z forward
    intrinsics: Tensor  # [4] or [B, 4] fx fy cx cy in pixels
    width: int
    height: int
    near: float = 0.2  # Gaussians with camera z <= near are not drawn
    antialiased: bool = False
    inverse_depth: bool = False


class Rasterization(NamedTuple):
    """A rendered view. `radii` has no gradient; everything else has."""

    image: Tensor  # [3, H, W] over the background
    depth: Tensor  # [H, W] sum of weight x camera z (or / camera z): divide by alpha for display
    alpha: Tensor  # [H, W] 1 - final transmittance
    radii: Tensor  # [N] int32, ceil of 3 standard deviations in pixels; 0 = not drawn
