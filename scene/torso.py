"""The torso: a second rigid body, to which each Gaussian learns how far it belongs.

In these data the head sits still and the camera moves, so that a torso at rest before the camera seems to fly
about the head. Gaussians that belong to the torso keep their place before the *camera* instead, moved only by
the torso's own motion where the data have it (`torso_transform`: camera space, OpenGL axes, takes the torso
at rest to the frame). A departure from the published method, off by default.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.rotations import matrix_to_quaternion, quaternion_multiply

NECK = -0.35  # world units below the origin: where membership starts at a half
NECK_HEIGHT = 0.1  # over which it grows


def initial_membership(xyz: Tensor) -> Tensor:
    """Logits [N, 1] of the membership of points [N, 3]: what is below the neck belongs to the torso."""
    return ((NECK - xyz[:, 1:2]) / NECK_HEIGHT).clamp(-4, 4)


def torso_motion(head_pose: Tensor, mean_pose: Tensor, torso: Tensor | None) -> Tensor:
    """The torso's motion [4, 4] in head space: where it is in a frame against the mean of the clip.

    `head_pose` [3 or 4, 4] and `mean_pose` [3, 4] are world-to-camera (OpenCV axes); `torso` [4, 4] moves
    it in camera space (OpenGL axes), None leaves it at rest.
    """
    rotation, translation = head_pose[:3, :3], head_pose[:3, 3]
    at_rest = mean_pose  # [3, 4]: head space to camera
    if torso is not None:
        flip = torch.ones_like(torso[:3, 3])  # made on the device: a copy from the host would wait for it
        flip[1:] = -1
        turn, shift = flip[:, None] * torso[:3, :3] * flip, flip * torso[:3, 3]
        at_rest = turn @ mean_pose
        at_rest = torch.cat([at_rest[:, :3], (at_rest[:, 3] + shift)[:, None]], dim=1)
    upper = rotation.T @ torch.cat([at_rest[:, :3], (at_rest[:, 3] - translation)[:, None]], dim=1)
    last_row = torch.eye(4, dtype=upper.dtype, device=upper.device)[3:]
    return torch.cat([upper, last_row])


def follow_torso(xyz: Tensor, rotation: Tensor, membership: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Means [N, 3] and quaternions [N, 4] that go along with `motion` [4, 4] by their membership [N, 1]."""
    moved = xyz @ motion[:3, :3].T + motion[:3, 3]
    turn = matrix_to_quaternion(motion[:3, :3])
    identity = torch.eye(4, dtype=turn.dtype, device=turn.device)[0]
    turn = F.normalize(torch.lerp(identity.expand(len(xyz), 4), turn.expand(len(xyz), 4), membership), dim=1)
    return torch.lerp(xyz, moved, membership), quaternion_multiply(turn, rotation)


def nearest_rigid(pose: Tensor) -> Tensor:
    """The pose [3, 4] whose rotation is nearest to that of `pose` [3, 4], say a mean of poses."""
    u, _, v = torch.linalg.svd(pose[:, :3].double())
    sign = torch.ones(3, dtype=torch.float64, device=pose.device)
    sign[2] = torch.linalg.det(u @ v)
    return torch.cat([((u * sign) @ v).to(pose.dtype), pose[:, 3:]], dim=1)
