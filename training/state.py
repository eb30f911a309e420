"""Everything that a training run consists of at one moment, made fresh or read from a checkpoint.

A checkpoint holds the head, the moments of both optimizers, the densification statistics, the state of the
random generator, what is left of the current epoch and the iteration; on the CPU a resumed run equals an
uninterrupted one bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from arguments import OptimizationParams, TrainConfig
from scene.avatar import typical_camera
from scene.cameras import Camera
from scene.dataset_readers import Clip
from scene.densification import DensificationStats, Densifier
from scene.gaussian_model import GaussianModel
from scene.head_model import Architecture, GaussianHead
from scene.inflation import points_on_surface
from scene.optimization import HeadOptimizer, schedules
from scene.pose_refinement import PoseRefinement
from scene.torso import fit_torso_map, nearest_rigid
from scene.visual_hull import points_in_hull
from training.averaging import WeightAverage
from training.sampler import EpochSampler
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError

MAX_CUBE_SIDE = 2.6  # of the published method
VIEW_FRACTION = 1.1  # of the width in view: what is never seen is never learned


@dataclass
class TrainingState:
    """The moving parts of a run."""

    head: GaussianHead
    optimizer: HeadOptimizer
    densifier: Densifier
    sampler: EpochSampler
    generator: torch.Generator
    iteration: int = 0
    seconds: float = 0.0  # of training so far
    poses: PoseRefinement | None = None
    pose_optimizer: torch.optim.Optimizer | None = None
    average: WeightAverage | None = None

    @classmethod
    def fresh(
        cls,
        config: TrainConfig,
        architecture: Architecture,
        cameras: Sequence[Camera],
        device: torch.device,
        mattes: Mapping[int, Tensor] = MappingProxyType({}),
        torsos: Tensor | None = None,
    ) -> "TrainingState":
        """Gaussians in the cube, networks at their start; a function of the seed. `cameras`: of all training
        frames, as are `torsos` [F, 4, 4], which only torso_prediction needs. `mattes` [H, W] of some of them,
        by position: where given, they say where to start."""
        torch.manual_seed(config.run.seed)  # the layers of torch.nn draw from the global generator
        generator = torch.Generator().manual_seed(config.run.seed)
        num, a = config.network.initial_gaussians, architecture
        rest = generator, a.num_blendshapes, a.torso_membership
        if mattes:
            points = _starting_points(config, cameras, mattes, a.half_side, generator)
            gaussians = GaussianModel.from_points(points, a.num_derivations, *rest)
        else:
            gaussians = GaussianModel.in_cube(num, a.num_derivations, a.half_side, *rest)
        head = GaussianHead(architecture, gaussians, generator).to(device)
        poses = torch.stack([camera.world_to_camera[:3] for camera in cameras])  # [F, 3, 4]
        head.mean_pose.copy_(nearest_rigid(poses.mean(dim=0)))
        if a.torso_prediction:
            head.torso_map.copy_(fit_torso_map(poses, head.mean_pose, torsos))
        return cls.around(head, config, len(cameras), generator)

    @classmethod
    def around(cls, head: GaussianHead, config: TrainConfig, num_frames: int, generator) -> "TrainingState":
        p = config.optimization
        optimizer = HeadOptimizer(head, schedules(p), decay={"blendshapes": p.blendshape_decay})
        densifier = Densifier(optimizer, config.optimization, head.architecture.half_side, generator)
        state = cls(head, optimizer, densifier, EpochSampler(num_frames, generator), generator)
        if p.pose_refinement_lr:
            state.poses = PoseRefinement(num_frames).to(head.gaussians.xyz.device)
            state.pose_optimizer = torch.optim.SparseAdam(
                list(state.poses.parameters()), lr=p.pose_refinement_lr
            )
        if p.average_decay:
            state.average = WeightAverage(p.average_decay)
        return state

    def before_step_(self, iteration: int) -> bool:
        """Clone, split, prune and reset opacities where the schedule asks for it after the step before.

        It waits until here because a head that has just been changed is none to score or to save. Returns
        whether the Gaussians are others now: all their tensors have been replaced.
        """
        return self.densifier.step_(iteration - 1) is not None

    def after_step_(self, iteration: int, params: OptimizationParams) -> None:
        """What follows a step of the head's optimizer: poses and the average of the weights."""
        if self.poses is not None:
            if iteration > params.warm_up:  # before, the head is too vague to say where it is
                self.pose_optimizer.step()
            self.pose_optimizer.zero_grad(set_to_none=True)
        if self.average is not None and iteration >= params.densify_until_iter:
            self.average.update_(self.head)

    def head_to_use(self) -> GaussianHead:
        """The head that is evaluated and saved."""
        return self.head if self.average is None else self.average.averaged(self.head)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        tensors = {
            **{f"head.{name}": value for name, value in self.head.state_dict().items()},
            **{f"optimizer.{name}": value for name, value in self.optimizer.state_tensors().items()},
            **{f"stats.{name}": value for name, value in self.densifier.stats.tensors().items()},
            **self._departures(),
            "generator": self.generator.get_state(),
            "sampler": self.sampler.state(),
        }
        metadata = {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "last_reset": self.densifier.last_reset,
            "num_frames": self.sampler.num_frames,
            "num_averaged": self.average.num_updates if self.average is not None else 0,
            "head": self.head.metadata(),
        }
        save_checkpoint(path, tensors, metadata)

    def _departures(self) -> dict[str, Tensor]:
        tensors = {}
        if self.poses is not None:
            corrections = self.poses.corrections.weight
            tensors["poses.corrections"] = corrections.detach()
            for key, value in self.pose_optimizer.state[corrections].items():
                tensors[f"poses.{key}"] = torch.as_tensor(value)
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.weights.items()}
        return tensors

    def _restore_departures_(self, poses: dict, average: dict, num_averaged: int, device) -> None:
        if self.poses is not None and poses:
            corrections = self.poses.corrections.weight
            with torch.no_grad():
                corrections.copy_(poses.pop("corrections"))
            self.pose_optimizer.state[corrections] = {
                key: int(value) if key == "step" else value.to(device) for key, value in poses.items()
            }
        if self.average is not None and average:
            self.average.weights = {name: value.to(device) for name, value in average.items()}
            self.average.num_updates = num_averaged

    @classmethod
    def load(cls, path: Path, config: TrainConfig, num_frames: int, device) -> "TrainingState":
        """Read a checkpoint. Raises UserError where it does not fit the data."""
        tensors, metadata = load_checkpoint(path)
        if metadata.get("num_frames") != num_frames:
            raise UserError(
                f"{path}: made with {metadata.get('num_frames', 'unknown')} training frames, "
                f"now there are {num_frames}"
            )
        groups = {prefix: {} for prefix in ("head", "optimizer", "stats", "poses", "average")}
        for name, value in tensors.items():
            prefix, _, rest = name.partition(".")
            if prefix in groups:
                groups[prefix][rest] = value
        head = GaussianHead.from_state(groups["head"], metadata["head"]).to(device)
        generator = torch.Generator()
        generator.set_state(tensors["generator"])
        state = cls.around(head, config, num_frames, generator)
        state.optimizer.load_state_tensors_(groups["optimizer"])
        state.densifier.stats = DensificationStats.from_tensors(groups["stats"], device)
        state.densifier.last_reset = metadata["last_reset"]
        state.sampler.restore(tensors["sampler"])
        num_averaged = metadata.get("num_averaged", 0)
        state._restore_departures_(groups["poses"], groups["average"], num_averaged, device)
        state.iteration, state.seconds = metadata["iteration"], metadata["seconds"]
        return state


def _starting_points(config, cameras, mattes: Mapping[int, Tensor], half_side, generator) -> Tensor:
    """Points [N, 3] on the inflated outline or in the visual hull, as the options ask."""
    num, seen = config.network.initial_gaussians, [cameras[i] for i in mattes]
    option = "start_on_surface" if config.network.start_on_surface else "start_in_hull"
    try:
        if config.network.start_on_surface:
            camera = typical_camera(seen)
            matte = next(mattes[i] for i in mattes if cameras[i] is camera)
            return points_on_surface(camera, matte, half_side, num, generator)
        return points_in_hull(seen, list(mattes.values()), half_side, num, generator)
    except ValueError as error:
        raise UserError(
            f"--{option}: {error}; look at mask/, or start in the cube by --no-{option}"
        ) from None


def wants_torso_prediction(config: TrainConfig) -> bool:
    """Whether the options ask for it and there is a torso; the clip may lack its motion to learn from."""
    return config.network.torso_prediction and not config.model.only_head


def architecture_for(config: TrainConfig, clip: Clip, cameras: Sequence[Camera]) -> Architecture:
    """Sizes of the head for a clip; the cube is no larger than what the cameras see at the origin.

    Raises UserError where the options ask for what the clip does not have.
    """
    if config.network.torso_tracking and clip.frames[0].torso is None:
        raise UserError(
            f"--torso_tracking: {clip.root / 'transforms.json'} has no torso_transform; "
            "add it by: python prepare.py --torso-only " + str(clip.root)
        )
    network = config.network
    predicts_torso = wants_torso_prediction(config) and clip.frames[0].torso is not None
    distance = float(np.median([float(camera.center.norm()) for camera in cameras]))
    width_in_view = distance * cameras[0].width / cameras[0].fx  # world units
    return Architecture(
        expression_size=len(clip.frames[0].expression),
        half_side=0.5 * min(MAX_CUBE_SIDE, VIEW_FRACTION * width_in_view),
        sh_degree=config.model.sh_degree,
        deformation_depth=network.deformation_depth,
        deformation_width=network.deformation_width,
        position_frequencies=network.position_frequencies,
        num_derivations=network.num_derivations,
        flat_tau=network.flat_tau,
        triplane_resolution=network.triplane_resolution,
        triplane_channels=network.triplane_channels,
        decoder_width=network.decoder_width,
        geometry_features=network.geometry_features,
        expression_gain=network.expression_gain,
        num_blendshapes=network.num_blendshapes,
        pose_conditioning=network.pose_conditioning,
        torso_membership=network.torso_membership,
        torso_tracking=network.torso_tracking or predicts_torso,
        torso_prediction=predicts_torso,
    )
