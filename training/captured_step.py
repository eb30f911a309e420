"""A training step as a CUDA graph: recorded once, replayed for every frame.

To launch some five hundred small kernels takes the host ten times as long as the GPU needs to run them. In a
graph, what a step reads and writes has fixed addresses: frames are copied to where the recorded one lay, and
whatever changes the step itself has it recorded anew. The first step after that runs as it stands, so that
what libraries and optimizers make at their first use is there.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gaussian_renderer.recording import Recording
from scene.head_model import GaussianHead
from scene.views import Drive, HeadView, SideView
from training.step import StepResult


class CapturedStep:
    """step(views, observes), replayed from a graph where `is_enabled`.

    It is recorded anew when `observes`, or the head's `deforms` or `active_sh_degree` changes, and after
    `forget`, which has to follow every change of the number of Gaussians. Results hold until the next call.
    """

    def __init__(
        self, step: Callable[[Sequence[HeadView], bool], StepResult], head: GaussianHead, is_enabled: bool
    ) -> None:
        self._step = step
        self._head = head
        self._is_enabled = is_enabled
        # What kind of step the graph is of, and where it reads.
        self._kind: tuple | None = None
        self._views: list[HeadView] | None = None
        self._recording: Recording[StepResult] | None = None

    def __call__(self, views: Sequence[HeadView], observes: bool) -> StepResult:
        if not self._is_enabled:
            return self._step(views, observes)
        kind = observes, self._head.deforms, self._head.active_sh_degree
        if kind != self._kind or (self._recording is not None and self._recording.is_old):
            self.forget()
            self._kind = kind
            return self._step(views, observes)
        if self._recording is None:
            self._views = own = [_clone(view) for view in views]
            self._recording = Recording(lambda: self._step(own, observes), views[0].truth.device)
        else:
            _copy_(self._views, views)
        return self._recording.replay()

    def forget(self) -> None:
        """Drop the graph, with the memory that it holds."""
        self._kind = self._views = self._recording = None


def _clone(view: HeadView) -> HeadView:
    # All frames share the intrinsics.
    camera = view.camera.posed(view.camera.world_to_camera.clone())
    drive = Drive(*(None if value is None else value.clone() for value in view.drive))
    side = None if view.side is None else SideView(*(value.clone() for value in view.side))
    return HeadView(camera, drive, view.background.clone(), view.truth.clone(), view.image_id, side)


def _copy_(targets: Sequence[HeadView], sources: Sequence[HeadView]) -> None:
    there = [tensor for view in targets for tensor in _tensors(view)]
    here = [tensor for view in sources for tensor in _tensors(view)]
    assert len(there) == len(here)
    torch._foreach_copy_(there, here)


def _tensors(view: HeadView) -> list[Tensor]:
    tensors = [view.camera.world_to_camera, *view.drive, view.background, view.truth, *(view.side or ())]
    return [tensor for tensor in tensors if tensor is not None]
