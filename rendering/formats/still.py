"""Splats at rest of an avatar, with colours that no network has to decode: what splat formats can hold.

Axes are the avatar's own: x right, y up, z towards the camera.
"""

import torch
from torch import Tensor

from diff_gaussian_rasterization import Splats
from rendering.drawing import with_axes
from scene.avatar import Avatar
from scene.cameras import swing_path
from scene.light_head import LightHead
from scene.views import Drive
from utils.sh_baking import bake_sh

# Directions in which a full head's colours are looked at, to fit their SH: along a swing of so many degrees.
NUM_DIRECTIONS, SWING = 12, 30.0


@torch.no_grad()
def still_splats(avatar: Avatar, expression: Tensor) -> Splats:
    """The splats of one expression [E]; a light head's as they are, a full head's with fitted SH."""
    drive = Drive(expression)
    if isinstance(avatar.head, LightHead):
        return avatar.head(avatar.camera, drive)
    cameras = swing_path(avatar.camera, NUM_DIRECTIONS, SWING)
    decoded = [avatar.head(camera, drive) for camera in cameras]
    return with_axes(decoded[0]._replace(sh=bake_sh(decoded, cameras)))
