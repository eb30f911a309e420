"""Everything that a training run consists of at one moment, and its checkpoints.

A checkpoint holds the head, the moments of both optimizers, the densification statistics, the state of the
random generator, what is left of the current epoch and the iteration; on the CPU a resumed run equals an
uninterrupted one bit for bit.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from arguments import TrainConfig
from scene.avatar import UNFIT
from scene.avatar_checks import checked_architecture
from scene.densification import DensificationStats, Densifier
from scene.head_model import GaussianHead
from scene.optimization import HeadOptimizer, schedules
from training.averaging import WeightAverage
from training.sampler import EpochSampler
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError


@dataclass
class TrainingState:
    """The moving parts of a run."""

    head: GaussianHead
    optimizer: HeadOptimizer
    densifier: Densifier
    sampler: EpochSampler
    generator: torch.Generator
    iteration: int = 0
    # Seconds of training so far.
    seconds: float = 0.0
    average: WeightAverage | None = None

    @classmethod
    def around(
        cls, head: GaussianHead, config: TrainConfig, num_frames: int, generator: torch.Generator
    ) -> "TrainingState":
        """A state at iteration 0 whose head is `head`."""
        p = config.optimization
        optimizer = HeadOptimizer(head, schedules(p), decay={"blendshapes": p.blendshape_decay})
        densifier = Densifier(optimizer, config.optimization, head.architecture.half_side, generator)
        state = cls(head, optimizer, densifier, EpochSampler(num_frames, generator), generator)
        if p.average_decay:
            state.average = WeightAverage(p.average_decay)
        return state

    def before_step_(self, iteration: int) -> bool:
        """Clone, split, prune and reset opacities where the schedule asks for it after the step before.

        It waits until here because a head that has just been changed is none to score or to save. Returns
        whether the Gaussians are others now: all their tensors have been replaced.
        """
        return self.densifier.step_(iteration - 1) is not None

    def after_step_(self, iteration: int) -> None:
        """What follows a step of the optimizer: the average of the weights, and the count."""
        if self.average is not None and iteration >= self.densifier.params.densify_until_iter:
            self.average.update_(self.head)
        self.iteration = iteration

    def head_to_use(self) -> GaussianHead:
        """The head that is evaluated and saved."""
        return self.head if self.average is None else self.average.averaged(self.head)

    def save(
        self, path: Path, expression_names: tuple[str, ...] | None = None, is_passing: bool = False
    ) -> None:
        """Write a checkpoint, atomically. `expression_names`: of the coefficients that it learned from;
        `is_passing`: the next one takes its place."""
        averaged = self.average.weights if self.average is not None else {}
        tensors = {
            **{f"head.{name}": value for name, value in self.head.state_dict().items()},
            **{f"optimizer.{name}": value for name, value in self.optimizer.state_tensors().items()},
            **{f"stats.{name}": value for name, value in self.densifier.stats.tensors().items()},
            **{f"average.{name}": value for name, value in averaged.items()},
            "generator": self.generator.get_state(),
            "sampler": self.sampler.state(),
        }
        metadata = {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "is_passing": is_passing,
            "last_reset": self.densifier.last_reset,
            "num_frames": self.sampler.num_frames,
            "expression_names": expression_names,
            "num_averaged": self.average.num_updates if self.average is not None else 0,
            "head": self.head.metadata(),
        }
        save_checkpoint(path, tensors, metadata)

    @classmethod
    def load(cls, path: Path, config: TrainConfig, num_frames: int, device: torch.device) -> "TrainingState":
        """Read a checkpoint. Raises UserError where it does not fit the data."""
        tensors, metadata = load_checkpoint(path)
        if metadata.get("num_frames") != num_frames:
            raise UserError(
                f"{path}: made with {metadata.get('num_frames', 'unknown')} training frames, "
                f"now there are {num_frames}"
            )
        try:
            return cls._of(tensors, metadata, config, device)
        except UNFIT as error:
            raise UserError(
                f"{path}: no checkpoint of a training run, or of another version ({error})"
            ) from error

    @classmethod
    def _of(cls, tensors: dict, metadata: dict, config: TrainConfig, device: torch.device) -> "TrainingState":
        num_frames = metadata["num_frames"]
        groups = {prefix: {} for prefix in ("head", "optimizer", "stats", "average")}
        for name, value in tensors.items():
            prefix, _, rest = name.partition(".")
            if prefix in groups:
                groups[prefix][rest] = value
        checked_architecture(metadata["head"], groups["head"])
        head = GaussianHead.from_state(groups["head"], metadata["head"]).to(device)
        generator = torch.Generator()
        generator.set_state(tensors["generator"])
        state = cls.around(head, config, num_frames, generator)
        state.optimizer.load_state_tensors_(groups["optimizer"])
        state.densifier.stats = DensificationStats.from_tensors(groups["stats"], device)
        if any(len(value) != len(head.gaussians) for value in groups["stats"].values()):
            raise ValueError("statistics of another number of Gaussians")
        state.densifier.last_reset = metadata["last_reset"]
        state.sampler.restore(tensors["sampler"])
        if state.average is not None and groups["average"]:
            state.average.weights = {name: value.to(device) for name, value in groups["average"].items()}
            state.average.num_updates = metadata.get("num_averaged", 0)
        state.iteration, state.seconds = metadata["iteration"], metadata["seconds"]
        return state
