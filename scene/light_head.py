"""LightHead: a head baked into splats that move along linear bases; no network, no mesh, no tri-plane.

    attribute = neutral + sum_k (weights[k] @ features(expression)) * bases[k]

`features` are the coefficients themselves and the same held within the range that the clip shows (what a full
head learns stays there, what its mesh does goes on), both as differences from the neutral face. What the full
head is, this one is near to: rendering/baking.py makes it, and measures how near.

The torso follows the head's pose as the full head's does (scene/torso.py); what the full head learned of the
pose besides is left out, and nothing depends on the camera.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diff_gaussian_rasterization import Splats
from scene.blendshapes import OFFSET_SIZES
from scene.cameras import Camera
from scene.torso import follow_torso, predicted_torso, torso_motion
from scene.views import Drive


class Basis(NamedTuple):
    """How one attribute of N splats moves, in K components."""

    weights: Tensor  # [K, 2E] of the features
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
    """How N splats follow the torso."""

    membership: Tensor  # [N] 0 to 1
    mean_pose: Tensor  # [3, 4] world-to-camera, of the clip
    # What predicts its motion from the head's pose, see scene/torso.py; zeros leave it at rest.
    map: Tensor  # [7, 6]
    known: Tensor  # [2, 6]


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

    def __len__(self) -> int:
        return len(self.neutral_xyz)

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

    def forward(self, camera: Camera, drive: Drive | Tensor) -> Splats:
        """The splats of a driven head. An expression [E] alone will do for a drive; the camera changes
        nothing."""
        drive = Drive(drive) if isinstance(drive, Tensor) else drive
        signal = features(drive.expression, self.neutral_expression, self.ranges)
        offset = {name: _blend(basis, signal) for name, basis in self.bases.items()}
        neutral, torso = self.neutral, self.torso
        xyz, rotation = neutral.xyz + offset["xyz"], neutral.rotation + offset["rotation"]
        if drive.head_pose is not None:
            moved = drive.torso
            if moved is None:
                moved = predicted_torso(drive.head_pose, torso.mean_pose, torso.map, torso.known)
            motion = torso_motion(drive.head_pose, torso.mean_pose, moved)
            xyz, rotation = follow_torso(xyz, rotation, torso.membership[:, None], motion)
        return Splats(
            means=xyz,
            opacities=torch.sigmoid(neutral.opacity_logit + offset["opacity_logit"][:, 0]),
            scales=(neutral.log_scale + offset["log_scale"]).exp(),
            rotations=F.normalize(rotation, dim=1),
            sh=torch.cat([neutral.sh[:, :1] + offset["color"][:, None], neutral.sh[:, 1:]], dim=1),
        )


def features(expression: Tensor, neutral: Tensor, ranges: Tensor) -> Tensor:
    """What a light head is linear in: expressions [..., E] -> [..., 2E]."""
    held, held_neutral = expression.clamp(*ranges), neutral.clamp(*ranges)
    return torch.cat([expression - neutral, held - held_neutral], dim=-1)


def _blend(basis: Basis, signal: Tensor) -> Tensor:  # [N, C]
    return torch.tensordot(basis.steps * (basis.weights @ signal), basis.values.to(signal.dtype), 1)
