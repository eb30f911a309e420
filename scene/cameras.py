"""Cameras: a pose and pinhole intrinsics, nothing else; no image, no field of view.

World: the head sits at the origin, y up. Camera axes are OpenCV's (x right, y down, z forward); files hold
OpenGL axes (x right, y up, looking down -z). Pixel i spans [i, i + 1), so W / 2 is the middle of the image.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

# World units, the family's near plane.
NEAR = 0.2
OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera; lengths in pixels, except `near` in world units."""

    world_to_camera: Tensor  # [4, 4] float32, OpenCV axes
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    near: float = NEAR

    @classmethod
    def from_camera_to_world(
        cls,
        camera_to_world: np.ndarray,  # [4, 4] OpenGL axes
        fx: float,
        fy: float,
        cx: float,
        cy: float,
        width: int,
        height: int,
        near: float = NEAR,
    ) -> "Camera":
        """Build a camera from a pose as transforms.json has it; inverted in float64."""
        return cls(inverted(camera_to_world), fx, fy, cx, cy, width, height, near)

    @property
    def center(self) -> Tensor:  # [3]
        """Position in the world."""
        rotation, translation = self.world_to_camera[:3, :3], self.world_to_camera[:3, 3]
        return -rotation.T @ translation

    @cached_property
    def intrinsics(self) -> Tensor:  # [4]
        """fx fy cx cy as a tensor beside the pose; kept, since making it on a GPU waits for the GPU."""
        return self.world_to_camera.new_tensor([self.fx, self.fy, self.cx, self.cy])

    def project(self, points: Tensor) -> Tensor:
        """Where points [..., 3] of the world are seen: pixels x and y, and the depth along z, [..., 3].

        In the precision of the points, on their device.
        """
        pose = self.world_to_camera.to(points)
        x, y, z = (points @ pose[:3, :3].T + pose[:3, 3]).unbind(-1)
        return torch.stack([self.fx * x / z + self.cx, self.fy * y / z + self.cy, z], dim=-1)

    def posed(self, world_to_camera: Tensor) -> "Camera":
        """Return the camera at another pose [4, 4] on the same device."""
        other = replace(self, world_to_camera=world_to_camera)
        other.__dict__["intrinsics"] = self.intrinsics
        return other

    def turned(self, turn: Tensor) -> "Camera":
        """Return the camera as it stands where the world before it makes a turn [4, 4], in float64 on the
        host."""
        pose = self.world_to_camera
        return self.posed((pose.cpu().double() @ turn).float().to(pose.device))

    def to(self, device: torch.device | str) -> "Camera":
        """Return the camera with its pose on a device."""
        return replace(self, world_to_camera=self.world_to_camera.to(device))

    def scaled(self, width: int, height: int) -> "Camera":
        """Return the same view at another image size; the intrinsics of each axis follow its own factor."""
        x, y = width / self.width, height / self.height
        return replace(
            self, fx=self.fx * x, fy=self.fy * y, cx=self.cx * x, cy=self.cy * y, width=width, height=height
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> "Camera":
        """Return the view of a window of the image whose upper left pixel is (x, y)."""
        return replace(self, cx=self.cx - x, cy=self.cy - y, width=width, height=height)


def inverted(camera_to_world: np.ndarray) -> Tensor:  # [..., 4, 4] float32, OpenCV axes
    """World-to-camera of poses [..., 4, 4] as transforms.json has them; inverted in float64."""
    return torch.from_numpy(np.linalg.inv(np.asarray(camera_to_world, np.float64) @ OPENGL_TO_OPENCV)).float()


def near_plane(camera_distances: np.ndarray) -> float:
    """Return 0.2 world units, or a tenth of the smallest camera distance where that is less."""
    return min(NEAR, 0.1 * float(np.min(camera_distances)))


def swing_path(camera: Camera, num_frames: int, max_yaw_degrees: float) -> list[Camera]:
    """Let a camera swing about the world's y axis through the origin, from its place to +max, -max and back.

    Yaw is one period of a sine, so the path is smooth and closed: the frame after the last is the first.
    Positive yaw takes a camera on +z towards +x. The intrinsics stay.
    """
    yaws = (math.radians(max_yaw_degrees) * math.sin(2 * math.pi * i / num_frames) for i in range(num_frames))
    return [camera.turned(about_y(-yaw)) for yaw in yaws]


def about_x(angle: float) -> Tensor:
    """The turn [4, 4] float64 about the x axis by an angle in radians; takes y to z."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]], dtype=torch.float64)


def about_y(angle: float) -> Tensor:
    """The turn [4, 4] float64 about the y axis by an angle in radians; takes z to x."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]], dtype=torch.float64)
