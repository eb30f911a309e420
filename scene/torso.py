"""The torso: a second rigid body, to which each Gaussian learns how far it belongs.

In these data the head sits still and the camera moves, so that a torso at rest before the camera seems to fly
about the head. Gaussians that belong to the torso keep their place before the *camera* instead, moved only by
the torso's own motion where the data have it (`torso_transform`: camera space, OpenGL axes, takes the torso
at rest to the frame). Where nobody has measured that motion, a linear map of the head's pose predicts it: so
few numbers, fitted to a clip, carry over to its other frames better than a network. Departures from the
published method, off by default.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.rotations import matrix_to_quaternion, quaternion_multiply, quaternion_to_matrix

# World units below the origin, where membership starts at a half, and over which it grows.
NECK = -0.35
NECK_HEIGHT = 0.1
# For standardised numbers; between 0.1 and 10 the error of left-out frames hardly changes.
RIDGE = 1.0


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
        # Made on the device: a copy from the host would wait for it.
        flip = torch.ones_like(torso[:3, 3])
        flip[1:] = -1
        turn, shift = flip[:, None] * torso[:3, :3] * flip, flip * torso[:3, 3]
        at_rest = turn @ mean_pose
        at_rest = torch.cat([at_rest[:, :3], (at_rest[:, 3] + shift)[:, None]], dim=1)
    upper = rotation.T @ torch.cat([at_rest[:, :3], (at_rest[:, 3] - translation)[:, None]], dim=1)
    last_row = torch.eye(4, dtype=upper.dtype, device=upper.device)[3:]
    return torch.cat([upper, last_row])


def fit_torso_map(head_poses: Tensor, mean_pose: Tensor, torsos: Tensor) -> Tensor:
    """The linear map [7, 6] from head poses [F, 3 or 4, 4] to the torso's [F, 4, 4], by ridge regression.

    Rows: rotation and translation of the head against `mean_pose` [3, 4], and a constant; columns: those of
    the torso.
    """
    x, y = head_motion(head_poses, mean_pose).double(), motion_vector(torsos).double()  # [F, 6]
    centre, spread = x.mean(dim=0), x.std(dim=0).clamp_min(1e-9)
    z = (x - centre) / spread
    identity = torch.eye(6, dtype=z.dtype, device=z.device)
    slopes = torch.linalg.solve(z.T @ z + RIDGE * identity, z.T @ (y - y.mean(dim=0))) / spread[:, None]
    return torch.cat([slopes, (y.mean(dim=0) - centre @ slopes)[None]]).to(mean_pose.dtype)


def predicted_torso(
    head_pose: Tensor, mean_pose: Tensor, torso_map: Tensor, known: Tensor | None = None
) -> Tensor:
    """The torso's motion [4, 4] that `torso_map` [7, 6] expects of a head pose [3 or 4, 4].

    Farther and farther beyond the `known` range [2, 6] of `head_motion` the torso goes back to where it is on
    average: who looks aside does not walk around.
    """
    motion = head_motion(head_pose, mean_pose)
    if known is not None:
        half = (0.5 * (known[1] - known[0])).clamp_min(1e-6)
        beyond = ((motion - motion.clamp(*known)) / half).square().sum()
        motion = torch.exp(-beyond) * motion
    return motion_matrix(motion @ torso_map[:6] + torso_map[6])


def head_motion(head_poses: Tensor, mean_pose: Tensor) -> Tensor:
    """Rotation and translation [..., 6] of head poses [..., 3 or 4, 4] against a mean one [3, 4]."""
    turn = head_poses[..., :3, :3] @ mean_pose[:, :3].T
    shift = head_poses[..., :3, 3] - mean_pose[:, 3]
    return motion_vector(torch.cat([turn, shift[..., None]], dim=-1))


def motion_vector(motion: Tensor) -> Tensor:
    """Rotation (axis x sine of the angle) and translation of rigid motions [..., 3 or 4, 4]: [..., 6]."""
    rotation = motion[..., :3, :3]
    twice = rotation - rotation.transpose(-1, -2)
    axis = torch.stack([twice[..., 2, 1], twice[..., 0, 2], twice[..., 1, 0]], dim=-1) / 2
    return torch.cat([axis, motion[..., :3, 3]], dim=-1)


def motion_matrix(vector: Tensor) -> Tensor:
    """The rigid motion [4, 4], turning by less than 90 degrees, whose `motion_vector` is `vector` [6]."""
    axis, shift = vector.split(3)
    cosine = (1 - axis.square().sum()).clamp_min(1e-6).sqrt()
    w = (0.5 * (1 + cosine)).sqrt()
    turn = quaternion_to_matrix(torch.cat([w[None], axis / (2 * w)]))
    last_row = torch.eye(4, dtype=vector.dtype, device=vector.device)[3:]
    return torch.cat([torch.cat([turn, shift[:, None]], dim=1), last_row])


def follow_torso(xyz: Tensor, rotation: Tensor, membership: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Means [N, 3] and quaternions [N, 4] that go along with `motion` [4, 4] by their membership [N, 1]."""
    moved = xyz @ motion[:3, :3].T + motion[:3, 3]
    turn = matrix_to_quaternion(motion[:3, :3])
    identity = torch.eye(4, dtype=turn.dtype, device=turn.device)[0]
    turn = F.normalize(torch.lerp(identity.expand(len(xyz), 4), turn.expand(len(xyz), 4), membership), dim=1)
    return torch.lerp(xyz, moved, membership), quaternion_multiply(turn, rotation)


def leave_torso(xyz: Tensor, rotation: Tensor, membership: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Invert `follow_torso`; quaternions [N, 4] come back normalised."""
    turn, shift, share = motion[:3, :3], motion[:3, 3], membership[:, :, None]  # [N, 1, 1]
    identity = torch.eye(3, dtype=turn.dtype, device=turn.device)
    blended = torch.lerp(identity.expand(len(xyz), 3, 3), turn.expand(len(xyz), 3, 3), share)
    back = torch.linalg.solve(blended, xyz - membership * shift)
    # What turns the identity alone is the turn itself.
    no_turn = torch.eye(4, dtype=turn.dtype, device=turn.device)[:1].expand(len(xyz), 4)
    turns = follow_torso(xyz, no_turn, membership, motion)[1]
    conjugate = torch.cat([turns[:, :1], -turns[:, 1:]], dim=1)
    return back, F.normalize(quaternion_multiply(conjugate, rotation), dim=1)


def nearest_rigid(pose: Tensor) -> Tensor:
    """The pose [3, 4] whose rotation is nearest to that of `pose` [3, 4], say a mean of poses."""
    u, _, v = torch.linalg.svd(pose[:, :3].double())
    sign = torch.ones(3, dtype=torch.float64, device=pose.device)
    sign[2] = torch.linalg.det(u @ v)
    return torch.cat([((u * sign) @ v).to(pose.dtype), pose[:, 3:]], dim=1)
