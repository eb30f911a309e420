"""A ball and its silhouettes."""

import math

import torch

from scene.cameras import Camera, swing_path

RADIUS = 0.3


def ball_seen_from(yaw_degrees):
    """Cameras 3 units from a ball at the origin, and its silhouettes."""
    pose = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    pose[2, 3] = 3
    camera = Camera(pose, 150.0, 150.0, 40.0, 40.0, 80, 80)
    cameras = swing_path(camera, 8, yaw_degrees)
    v, u = torch.meshgrid(torch.arange(80) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    outline = 150 * math.tan(math.asin(RADIUS / 3))  # pixels
    matte = ((u - 40).hypot(v - 40) < outline).float()
    return cameras, [matte] * len(cameras)
