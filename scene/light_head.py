"""LightHead: a head baked into splats that move along linear bases; no network, no mesh, no tri-plane.

    attribute = neutral + sum_k (weights[k] @ features(drive)) * bases[k]

`features` are the coefficients themselves and the same held within the range that the clip shows (what a full
head learns stays there, what its mesh does goes on), both as differences from the neutral face; then the pose
in which the head was filmed, and 1, or zeros where none is given: of the full head it moves the torso.
What the full head is, this one is near to: rendering/baking.py makes it, and measures how near.

After that the torso follows the head's pose as the full head's does (scene/torso.py). Nothing depends on the
camera.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diff_gaussian_rasterization import Splats
from scene.blendshapes import OFFSET_SIZES
from scene.cameras import Camera
from scene.head_model import POSE_CODE_SIZE, pose_code, stacked
from scene.torso import follow_torso, predicted_torso, torso_motion
from scene.views import Drive

# A pose's code, and that there is one.
NUM_POSE_FEATURES = POSE_CODE_SIZE + 1


class Basis(NamedTuple):
    """How one attribute of N splats moves, in K components."""

    weights: Tensor  # [K, 2E + 13] of the features
    steps: Tensor  # [K] what one unit of the values means
    values: Tensor  # [K, N, C] int8; zero where a component does nothing


class Neutral(NamedTuple):
    """N splats at rest, raw: what the bases are added to."""

    xyz: Tensor  # [N, 3]
    rotation: Tensor  # [N, 4]
    log_scale: Tensor  # [N, 3]
    opacity_logit: Tensor  # [N]
    sh: Tensor  # [N, S, 3]


class Torso(NamedTuple):
    """How N splats follow the torso, and what is known of the head's pose."""

    membership: Tensor  # [N] 0 to 1
    mean_pose: Tensor  # [3, 4] world-to-camera, of the clip
    # What predicts its motion from the head's pose, see scene/torso.py; zeros leave it at rest.
    map: Tensor  # [7, 6]
    known: Tensor  # [2, 6]
    # Least and most of each number of the pose's code in the clip; zeros where the full head sees no pose.
    codes: Tensor  # [2, 12]

    @classmethod
    def still(cls, num_splats: int) -> "Torso":
        """What follows nothing."""
        return cls(
            membership=torch.zeros(num_splats),
            mean_pose=torch.eye(4)[:3],
            map=torch.zeros(7, 6),
            known=torch.ones(2, 6),
            codes=torch.zeros(2, POSE_CODE_SIZE),
        )

    def motion(self, drive: Drive) -> Tensor:
        """The torso's motion [4, 4] in head space, of a drive with a pose: measured, else predicted."""
        moved = drive.torso
        if moved is None:
            moved = predicted_torso(drive.head_pose, self.mean_pose, self.map, self.known)
        return torso_motion(drive.head_pose, self.mean_pose, moved)


class LightHead(nn.Module):
    """A head in its light form; called as a `GaussianHead` is."""

    def __init__(
        self,
        neutral: Neutral,
        bases: dict[str, Basis],
        neutral_expression: Tensor,
        ranges: Tensor,
        torso: Torso,
    ) -> None:
        """`bases` has an entry for every name of OFFSET_SIZES; `ranges` [2, E] is least and most of each
        coefficient in the clip."""
        super().__init__()
        for name, value in torso._asdict().items():
            self.register_buffer(f"torso_{name}", value)
        assert bases.keys() == OFFSET_SIZES.keys()
        self.register_buffer("neutral_expression", neutral_expression)
        self.register_buffer("ranges", ranges)
        for name, value in neutral._asdict().items():
            self.register_buffer(f"neutral_{name}", value)
        for name, basis in bases.items():
            for part, value in basis._asdict().items():
                self.register_buffer(f"{name}_{part}", value)

    @property
    def num_splats(self) -> int:
        """Splats."""
        return len(self.neutral_xyz)

    @property
    def expression_size(self) -> int:
        """Coefficients that drive it."""
        return len(self.neutral_expression)

    @property
    def neutral(self) -> Neutral:
        """The splats at rest."""
        return Neutral(*(getattr(self, f"neutral_{name}") for name in Neutral._fields))

    @property
    def bases(self) -> dict[str, Basis]:
        """The bases by the name of what they move."""
        return {
            name: Basis(*(getattr(self, f"{name}_{part}") for part in Basis._fields)) for name in OFFSET_SIZES
        }

    @property
    def torso(self) -> Torso:
        """What follows the torso, and how."""
        return Torso(*(getattr(self, f"torso_{name}") for name in Torso._fields))

    def views(self, cameras: Sequence[Camera], drives: Sequence[Drive]) -> Splats:
        """What `forward` gives for V cameras and drives, stacked: [V, N, ...]."""
        return stacked([self(camera, drive) for camera, drive in zip(cameras, drives, strict=True)])

    def forward(self, camera: Camera, drive: Drive | Tensor) -> Splats:
        """The splats of a driven head. An expression [E] alone will do for a drive; the camera changes
        nothing."""
        drive = Drive(drive) if isinstance(drive, Tensor) else drive
        signal = features(drive, self.neutral_expression, self.ranges, self.torso)
        offset = {name: _blend(basis, signal) for name, basis in self.bases.items()}
        neutral, torso = self.neutral, self.torso
        xyz, rotation = neutral.xyz + offset["xyz"], neutral.rotation + offset["rotation"]
        if drive.head_pose is not None:
            xyz, rotation = follow_torso(xyz, rotation, torso.membership[:, None], torso.motion(drive))
        return Splats(
            means=xyz,
            opacities=torch.sigmoid(neutral.opacity_logit + offset["opacity_logit"][:, 0]),
            scales=(neutral.log_scale + offset["log_scale"]).exp(),
            rotations=F.normalize(rotation, dim=1),
            sh=torch.cat([neutral.sh[:, :1] + offset["color"][:, None], neutral.sh[:, 1:]], dim=1),
        )


def features(drive: Drive, neutral: Tensor, ranges: Tensor, torso: Torso) -> Tensor:
    """What a light head is linear in: [2E + 13], zeros of the neutral expression [E] without a pose."""
    expression = drive.expression
    of_pose = expression.new_zeros(NUM_POSE_FEATURES)
    if drive.head_pose is not None:
        of_pose[:-1] = pose_code(drive.head_pose, torso.mean_pose).clamp(*torso.codes)
        # Else the curvature of what is learned of poses would be laid to the expressions seen with them.
        of_pose[-1] = 1
    return torch.cat([expression - neutral, expression.clamp(*ranges) - neutral.clamp(*ranges), of_pose])


def _blend(basis: Basis, signal: Tensor) -> Tensor:  # [N, C]
    return torch.tensordot(basis.steps * (basis.weights @ signal), basis.values.to(signal.dtype), 1)
