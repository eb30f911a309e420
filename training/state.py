"""Everything that a training run consists of at one moment, made fresh or read from a checkpoint.

A checkpoint holds the head, the moments of both optimizers, the densification statistics, the state of the
random generator, what is left of the current epoch and the iteration; on the CPU a resumed run equals an
uninterrupted one bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from arguments import TrainConfig
from scene.cameras import Camera
from scene.dataset_readers import Clip
from scene.densification import DensificationStats, Densifier
from scene.gaussian_model import GaussianModel
from scene.head_model import Architecture, GaussianHead
from scene.optimization import HeadOptimizer, schedules
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

    @classmethod
    def fresh(
        cls, config: TrainConfig, architecture: Architecture, cameras: Sequence[Camera], device: torch.device
    ) -> "TrainingState":
        """Gaussians in the cube, networks at their start; a function of the seed. `cameras`: of all training
        frames."""
        torch.manual_seed(config.run.seed)  # the layers of torch.nn draw from the global generator
        generator = torch.Generator().manual_seed(config.run.seed)
        gaussians = GaussianModel.in_cube(
            config.network.initial_gaussians,
            architecture.num_derivations,
            architecture.half_side,
            generator,
            architecture.num_blendshapes,
        )
        head = GaussianHead(architecture, gaussians, generator).to(device)
        poses = torch.stack([camera.world_to_camera[:3] for camera in cameras])  # [F, 3, 4]
        head.mean_pose.copy_(poses.mean(dim=0))
        return cls.around(head, config, len(cameras), generator)

    @classmethod
    def around(cls, head: GaussianHead, config: TrainConfig, num_frames: int, generator) -> "TrainingState":
        optimizer = HeadOptimizer(head, schedules(config.optimization))
        densifier = Densifier(optimizer, config.optimization, head.architecture.half_side, generator)
        return cls(head, optimizer, densifier, EpochSampler(num_frames, generator), generator)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        tensors = {
            **{f"head.{name}": value for name, value in self.head.state_dict().items()},
            **{f"optimizer.{name}": value for name, value in self.optimizer.state_tensors().items()},
            **{f"stats.{name}": value for name, value in self.densifier.stats.tensors().items()},
            "generator": self.generator.get_state(),
            "sampler": self.sampler.state(),
        }
        metadata = {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "last_reset": self.densifier.last_reset,
            "num_frames": self.sampler.num_frames,
            "head": self.head.metadata(),
        }
        save_checkpoint(path, tensors, metadata)

    @classmethod
    def load(cls, path: Path, config: TrainConfig, num_frames: int, device) -> "TrainingState":
        """Read a checkpoint. Raises UserError where it does not fit the data."""
        tensors, metadata = load_checkpoint(path)
        if metadata.get("num_frames") != num_frames:
            raise UserError(
                f"{path}: made with {metadata.get('num_frames', 'unknown')} training frames, "
                f"now there are {num_frames}"
            )
        groups = {prefix: {} for prefix in ("head", "optimizer", "stats")}
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
        state.iteration, state.seconds = metadata["iteration"], metadata["seconds"]
        return state


def architecture_for(config: TrainConfig, clip: Clip, cameras: Sequence[Camera]) -> Architecture:
    """Sizes of the head for a clip; the cube is no larger than what the cameras see at the origin."""
    network = config.network
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
        triplane_resolution=network.triplane_resolution,
        triplane_channels=network.triplane_channels,
        decoder_width=network.decoder_width,
        geometry_features=network.geometry_features,
        expression_gain=network.expression_gain,
        num_blendshapes=network.num_blendshapes,
        pose_conditioning=network.pose_conditioning,
    )
