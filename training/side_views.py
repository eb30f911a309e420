"""Where nobody can be, seen from a side that no frame shows: outside the outline, with a margin.

Frames that turn by a few degrees allow a haze of Gaussians behind every rim, which a camera that turns
farther uncovers. From such cameras there is no image to learn from, but a guess of the shape
(inflation.py), and alpha beyond it is nobody's. Where a head model was fitted the shape is known,
and the margin narrower. A departure from the published method, off by default.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from scene.cameras import Camera, about_x, about_y
from scene.views import SideView
from training.inflation import Balloon

NUM_VIEWS = 32
# Degrees to either side.
MAX_YAW, MAX_PITCH = 30.0, 8.0
# How far the guess may be off, in pixels at a width of 512.
MARGIN = 14
# With a head model it is no guess; of the person these points fill the outline.
MARGIN_ON_SCAFFOLD, MAX_YAW_ON_SCAFFOLD = 8, 50.0
# Points make an outline in a raster of so many pixels, at a width of 512.
COARSE = 4


class SideViews:
    """Poses [V, 4, 4] around a camera, and where nobody can be, bool [V, H, W]; on the camera's device.

    points [N, 3]: fill a shape that is known; without them the outline is blown up.

    Raises ValueError where the matte [H, W] of `camera` is empty.
    """

    def __init__(
        self,
        camera: Camera,
        matte: Tensor,
        generator: torch.Generator | None = None,
        points: Tensor | None = None,
    ) -> None:
        margin, max_yaw = (MARGIN, MAX_YAW) if points is None else (MARGIN_ON_SCAFFOLD, MAX_YAW_ON_SCAFFOLD)
        if points is None:
            points = Balloon(camera, matte).volume()  # [N, 3]
        angles = torch.rand(NUM_VIEWS, 2, generator=generator, dtype=torch.float64) * 2 - 1
        angles *= torch.tensor([max_yaw, MAX_PITCH], dtype=torch.float64) * math.pi / 180
        pose = camera.world_to_camera.cpu().double()
        self.poses = torch.stack(
            [pose @ about_x(pitch) @ about_y(yaw) for yaw, pitch in angles.tolist()]
        ).float()
        self.outside = torch.stack([_outside(points, camera, pose.double(), margin) for pose in self.poses])
        self.poses = self.poses.to(camera.world_to_camera.device)
        self.outside = self.outside.to(self.poses.device)

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, number: int) -> SideView:
        """The side views in turn, endlessly."""
        number %= len(self)
        return SideView(self.poses[number], self.outside[number])


def _outside(points: Tensor, camera: Camera, pose: Tensor, margin: float) -> Tensor:  # bool [H, W]
    """The complement of the points' outline, closed and widened by a margin in pixels at a width of 512."""
    pixel = COARSE * camera.width / 512
    width, height = math.ceil(camera.width / pixel), math.ceil(camera.height / pixel)
    u, v, _ = (camera.posed(pose).project(points) / pixel).long().unbind(1)
    is_seen = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    outline = torch.zeros(height, width)
    outline[v[is_seen], u[is_seen]] = 1
    reach = round(margin / COARSE)
    outline = F.max_pool2d(outline[None, None], 2 * reach + 1, stride=1, padding=reach)
    return F.interpolate(outline, (camera.height, camera.width), mode="nearest")[0, 0] < 0.5
