"""GaussianHead: camera and drive in, splats to draw out.

canonical Gaussians -> deformation by the expression -> K doppelgangers -> tri-plane features -> opacity and
colour; on a scaffold the deformed Gaussians are carried to where the driven mesh has their places. Nothing
here knows how splats are drawn, and drawing changes nothing here: `forward` is pure.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arguments import NetworkParams
from diff_gaussian_rasterization import Splats
from scene import fused
from scene.blendshapes import Blend, Blendshapes
from scene.cameras import Camera
from scene.decoder import HierarchicalDecoder
from scene.deformation import DeformationField
from scene.derivation import derive
from scene.gaussian_model import GaussianModel
from scene.scaffold import Scaffold, Seats
from scene.shape_field import ShapeField
from scene.torso import follow_torso, predicted_torso, torso_motion
from scene.triplane import TriPlane
from scene.views import Drive


@dataclass(frozen=True, kw_only=True)
class Architecture(NetworkParams):
    """All that a saved model needs to be built again: sizes and parts that the options ask for, and what the
    clip decides. `torso_tracking` here: the torso's own motion is in the driving signal."""

    expression_size: int
    # World units; half the side of the cube that holds the head, also the scene extent.
    half_side: float
    sh_degree: int = 3


POSE_CODE_SIZE = 12
_ADDED_LATER = {"known_poses", "gaussians.color", "gaussians.triangle", "gaussians.barycentric"}
# Written first into a model's file.
_OF_THE_CLIP = ("expression_size", "half_side", "sh_degree")
# A talking head turns and moves by about 0.1 (radians, world units).
POSE_GAIN = 10.0
# Of the scene extent; a Gaussian on a scaffold is no larger.
LARGEST_ON_SCAFFOLD = 0.05
# Share of the way back to the surface at every step: a clip that hardly turns says little against it.
SURFACE_PULL = 5e-3
# Of how far it may go along the surface: what nobody saw is no smaller.
SMALLEST_UNSEEN = 0.4
# Of what sits on the head.
LEAST_OPACITY = 0.5


class GaussianHead(nn.Module):
    """An animatable head. `active_sh_degree` and `deforms` follow the training schedule and are saved with
    the model."""

    def __init__(
        self,
        architecture: Architecture,
        gaussians: GaussianModel,
        generator: torch.Generator | None = None,
        scaffold: Scaffold | None = None,
    ) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.active_sh_degree = a.sh_degree
        # Where they can (scene/fused); what they do is the same.
        self.uses_kernels = True
        # False during warm-up: all offsets are zero.
        self.deforms = True
        self.gaussians = gaussians
        self.register_buffer("mean_pose", torch.eye(4)[:3])  # [3, 4] world-to-camera; of the training frames
        if a.torso_prediction:
            self.register_buffer("torso_map", torch.zeros(7, 6))  # see scene/torso.py
            self.register_buffer("known_poses", torch.tensor([[-1.0], [1.0]]).expand(2, 6) * 1e3)
        signal_size = a.expression_size + POSE_CODE_SIZE * (a.pose_conditioning + a.torso_tracking)
        self.deformation = DeformationField(
            signal_size, a.deformation_depth, a.deformation_width, a.position_frequencies
        )
        # A rotation takes a corner of the cube to sqrt(3) x its half side along an axis.
        self.triplane = TriPlane(a.half_side * 3**0.5, a.triplane_resolution, a.triplane_channels, generator)
        self.decoder = HierarchicalDecoder(
            a.triplane_channels, a.decoder_width, a.geometry_features, a.sh_degree
        )
        self.blendshapes = Blendshapes(signal_size, a.num_blendshapes) if a.num_blendshapes else None
        self.scaffold = scaffold
        if scaffold is not None:
            self.shape = ShapeField()
            # Least and most of each number of the driving signal in the clip: what is learned stays there.
            self.register_buffer("known_signals", torch.zeros(2, signal_size))
            self.decoder.add_nothing_()

    @property
    def num_splats(self) -> int:
        """Gaussians."""
        return len(self.gaussians)

    @property
    def expression_size(self) -> int:
        """Coefficients that drive it."""
        return self.architecture.expression_size

    def forward(self, camera: Camera, drive: Drive | Tensor) -> Splats:
        """The splats of a driven head as seen from `camera` (colour and opacity hold for this view).

        An expression [E] alone will do for a drive. What a model has no part for is ignored: `head_pose` and
        `torso` by most.
        """
        drive = Drive(drive) if isinstance(drive, Tensor) else drive
        if fused.applies(self, [drive]):
            return Splats(*(None if part is None else part[0] for part in fused.driven_splats(self, [drive])))
        drive = self._known(drive)
        seats = None if self.scaffold is None else self.scaffold.seats(self.gaussians.places)
        placed, blend = self._deformed(drive, seats)
        tau = self.gaussians.tau
        tau = F.normalize(tau, dim=-1) if self.architecture.flat_tau else tau
        features = self.triplane(derive(placed.xyz, tau))  # [N, C]
        placed = self._carried(placed, drive, seats)
        opacities, sh = self._decoded(features, placed.xyz, camera, blend, seats)
        return Splats(
            means=placed.xyz,
            opacities=opacities,
            scales=placed.log_scale.exp(),
            rotations=F.normalize(placed.rotation, dim=1),
            sh=sh,
        )

    def views(self, cameras: Sequence[Camera], drives: Sequence[Drive]) -> Splats:
        """What `forward` gives for V cameras and drives, stacked: [V, N, ...]."""
        if fused.applies(self, drives):
            return fused.driven_splats(self, drives)
        return stacked([self(camera, drive) for camera, drive in zip(cameras, drives, strict=True)])

    def _deformed(self, drive: Drive, seats: Seats | None) -> tuple["_Placed", Blend | None]:
        """The canonical Gaussians with what is learned of the person's shape and of the drive."""
        gaussians, blend = self.gaussians, None
        xyz, rotation, log_scale = gaussians.xyz, gaussians.rotation, gaussians.log_scale
        if seats is not None:
            xyz = xyz + self.shape(xyz, seats.reach)
        if not self.deforms:
            return _Placed(xyz, rotation, log_scale), None
        signals, shares = self._signals(drive, seats)
        offsets = [self.deformation(xyz, signals, shares)]
        if self.blendshapes is not None:
            blend = self.blendshapes(gaussians.blendshapes, signals, shares)
            offsets.append(blend)
        shift = sum(offset.xyz for offset in offsets)
        xyz = xyz + (shift if seats is None else seats.reach * torch.tanh(shift / seats.reach))
        for offset in offsets:
            rotation, log_scale = rotation + offset.rotation, log_scale + offset.log_scale
        return _Placed(xyz, rotation, log_scale), blend

    def _carried(self, placed: "_Placed", drive: Drive, seats: Seats | None) -> "_Placed":
        """Taken along by the scaffold, and by the torso what belongs to it."""
        xyz, rotation, log_scale = placed
        if seats is not None:
            motion = self.scaffold.motion(self.gaussians.places, drive.expression)
            xyz, rotation, log_scale = motion.carry(xyz, rotation, log_scale)
        if self.architecture.torso_membership and drive.head_pose is not None:
            motion = torso_motion(drive.head_pose, self.mean_pose, drive.torso)
            xyz, rotation = follow_torso(xyz, rotation, self.torso_membership(seats), motion)
        return _Placed(xyz, rotation, log_scale)

    def torso_membership(self, seats: Seats | None) -> Tensor:
        """How far each Gaussian follows the torso, [N, 1]; what is of the head, not at all."""
        membership = torch.sigmoid(self.gaussians.torso_logit)
        return membership if seats is None else membership * ~seats.is_of_head[:, None]

    def _decoded(
        self, features: Tensor, xyz: Tensor, camera: Camera, blend: Blend | None, seats: Seats | None
    ) -> tuple[Tensor, Tensor]:
        """Opacities [N] and SH coefficients [N, S, 3] of features [N, C] at deformed means [N, 3]."""
        gaussians = self.gaussians
        directions = F.normalize(xyz - camera.center, dim=1)  # [N, 3]
        if seats is not None:
            # A clip that hardly turns says nothing about them.
            directions = torch.zeros_like(directions)
        opacity_logit, sh = self.decoder(features, directions, self.active_sh_degree)
        if blend is not None:
            opacity_logit, sh = opacity_logit + blend.opacity_logit, _with_dc_offset(sh, blend.color)
        if seats is None:
            return torch.sigmoid(opacity_logit + gaussians.opacity_offset), sh
        # Where nobody looked, nothing is learned.
        sh = _with_dc_offset(seats.seen[:, None, None] * _with_dc_offset(sh, gaussians.color), seats.color)
        opacities = torch.sigmoid(seats.seen * opacity_logit + gaussians.opacity_offset)
        # Nothing shines through a head.
        least = LEAST_OPACITY * seats.is_of_head
        return least + (1 - least) * opacities, sh

    @torch.no_grad()
    def confine_(self) -> None:
        """Bring Gaussians back to within the limits of their places on the scaffold, if there is one."""
        if self.scaffold is None:
            return
        gaussians = self.gaussians
        largest = math.log(self.architecture.half_side * LARGEST_ON_SCAFFOLD)
        if fused.applies(self):
            fused.confine_(self, SURFACE_PULL, largest, SMALLEST_UNSEEN)
            return
        seats = self.scaffold.seats(gaussians.places)
        gaussians.xyz.copy_(self.scaffold.confined(gaussians.places, gaussians.xyz, SURFACE_PULL))
        gaussians.log_scale.clamp_(max=largest)
        # What frames see from aside only must not shrink to fit a rim: there would be gaps in it.
        unseen = (SMALLEST_UNSEEN * seats.is_of_head * (1 - seats.seen))[:, None]
        along = gaussians.log_scale[:, :2]
        along.copy_(torch.maximum(along, (unseen * seats.reach).clamp_min(1e-12).log()))

    def driving_signal(self, drive: Drive) -> Tensor:
        """What moves the Gaussians, without noise: [D]."""
        return self._signal(self._known(drive))

    def _signals(self, drive: Drive, seats: Seats | None) -> tuple[Tensor, Tensor | None]:
        """The driving signal [D]; on a scaffold as far as the clip knows it, [2, D]: with the poses and
        without, and which of them each Gaussian follows, as shares [N, 2]."""
        signal = self._signal(drive)
        if seats is None:
            return signal if drive.noise is None else signal + drive.noise, None
        signal = signal.clamp(*self.known_signals)
        signal = signal if drive.noise is None else signal + drive.noise
        is_expression = torch.arange(len(signal), device=signal.device) < self.architecture.expression_size
        shares = torch.stack([~seats.is_of_head, seats.is_of_head], dim=1).to(signal.dtype)
        return torch.stack([signal, signal * is_expression]), shares

    def _signal(self, drive: Drive) -> Tensor:
        """No coefficient is divided by its spread: many hardly vary."""
        parts = [self.architecture.expression_gain * drive.expression]
        if self.architecture.pose_conditioning:
            parts.append(pose_code(drive.head_pose, self.mean_pose))
        if self.architecture.torso_tracking:
            at_rest = torch.eye(4, device=drive.expression.device)[:3]
            parts.append(pose_code(drive.torso, at_rest))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _known(self, drive: Drive) -> Drive:
        """The drive with the torso as far as this model uses it: given, else predicted, else None."""
        torso = drive.torso if self.architecture.torso_tracking else None
        if drive.torso is None and drive.head_pose is not None and self.architecture.torso_prediction:
            torso = predicted_torso(drive.head_pose, self.mean_pose, self.torso_map, self.known_poses)
        return drive._replace(torso=torso)

    def metadata(self) -> dict:
        """What, besides the weights, makes this model: enough for `from_state` to build it again."""
        sizes = asdict(self.architecture)
        return {
            "architecture": {name: sizes[name] for name in (*_OF_THE_CLIP, *sizes)},
            "active_sh_degree": self.active_sh_degree,
            "deforms": self.deforms,
        }

    @classmethod
    def from_state(cls, state: dict[str, Tensor], metadata: dict) -> "GaussianHead":
        """Build a head from `state_dict()` and `metadata()`."""
        architecture = Architecture(**metadata["architecture"])
        gaussians = GaussianModel.empty(len(state["gaussians.xyz"]), architecture)
        scaffold = None
        if architecture.scaffold:
            prefix = "scaffold."
            of_scaffold = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
            scaffold = Scaffold.of_state(of_scaffold)
        head = cls(architecture, gaussians, scaffold=scaffold)
        # Older files lack some; then these are empty, or do nothing.
        state = {name: value for name, value in head.state_dict().items() if name in _ADDED_LATER} | state
        head.load_state_dict(state)  # halves become floats
        head.active_sh_degree = metadata["active_sh_degree"]
        head.deforms = metadata["deforms"]
        return head


def pose_code(pose: Tensor | None, usual: Tensor) -> Tensor:  # [12]
    """What a driving signal has of a pose [3 or 4, 4]: how far it is from the usual one [3, 4]."""
    if pose is None:
        return torch.zeros_like(usual).flatten()
    return POSE_GAIN * (pose[:3] - usual).flatten()


def stacked(splats: Sequence[Splats]) -> Splats:
    """Several splats [N, ...] as one: [V, N, ...]."""
    return Splats(*(None if parts[0] is None else torch.stack(parts) for parts in zip(*splats, strict=True)))


class _Placed(NamedTuple):
    """Where Gaussians are, how turned and how large."""

    xyz: Tensor  # [N, 3]
    rotation: Tensor  # [N, 4] quaternion, raw
    log_scale: Tensor  # [N, 3]


def _with_dc_offset(sh: Tensor, color: Tensor) -> Tensor:
    """SH coefficients [N, S, 3] whose constant term is moved by `color` [N, 3]."""
    return torch.cat([sh[:, :1] + color[:, None], sh[:, 1:]], dim=1)
