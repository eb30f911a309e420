"""A training step as a CUDA graph: recorded once, replayed for every frame.

To launch some five hundred small kernels takes the host ten times as long as the GPU needs to run them. In a
graph, what a step reads and writes has fixed addresses: frames are copied to where the recorded one lay, and
whatever changes the step itself has it recorded anew. The first step after that runs as it stands, so that
what libraries and optimizers make at their first use is there.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from scene.head_model import GaussianHead
from training.training_view import TrainingView

RECORD_AGAIN = 500  # steps; the rasterizer's lists, which a graph keeps as they were, may have grown since


class StepResult(NamedTuple):
    """What a step tells the log."""

    loss: Tensor  # []
    image: Tensor  # [3, H, W]


class CapturedStep:
    """step(view, observes), replayed from a graph where `is_enabled`.

    It is recorded anew when `observes`, or the head's `deforms` or `active_sh_degree` changes, and after
    `forget`, which has to follow every change of the number of Gaussians. Results hold until the next call.
    """

    def __init__(
        self, step: Callable[[TrainingView, bool], StepResult], head: GaussianHead, is_enabled: bool
    ) -> None:
        self._step = step
        self._head = head
        self._is_enabled = is_enabled
        self._kind: tuple | None = None  # of the step that the graph is of
        self._view: TrainingView | None = None  # where the graph reads
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: StepResult | None = None
        self._num_replays = 0

    def __call__(self, view: TrainingView, observes: bool) -> StepResult:
        if not self._is_enabled:
            return self._step(view, observes)
        kind = observes, self._head.deforms, self._head.active_sh_degree
        if kind != self._kind or self._num_replays == RECORD_AGAIN:
            self.forget()
            self._kind = kind
            return self._step(view, observes)
        if self._graph is None:
            self._record(view, observes)
        else:
            _copy_(self._view, view)
        self._graph.replay()
        self._num_replays += 1
        return self._result

    def forget(self) -> None:
        """Drop the graph, with the memory that it holds."""
        self._kind = self._view = self._graph = self._result = None
        self._num_replays = 0

    def _record(self, view: TrainingView, observes: bool) -> None:
        self._view = _clone(view)
        with torch.cuda.device(view.image.device):
            self._graph = torch.cuda.CUDAGraph()
            # Other threads, which decode frames, may use the device meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._result = self._step(self._view, observes)


def _clone(view: TrainingView) -> TrainingView:
    camera = view.camera.posed(view.camera.world_to_camera.clone())  # all frames share the intrinsics
    return TrainingView(camera, *(None if value is None else value.clone() for value in view[1:]))


def _copy_(target: TrainingView, source: TrainingView) -> None:
    target.camera.world_to_camera.copy_(source.camera.world_to_camera)
    for there, value in zip(target[1:], source[1:]):
        if there is not None:
            there.copy_(value)
