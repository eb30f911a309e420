"""The library's fast path: pictures of an avatar, recorded once as a CUDA graph and replayed.

    renderer = AvatarRenderer(load_avatar("output/id1", device="cuda"))
    picture = renderer(expression)                    # uint8 [H, W, 3] on the GPU

What a frame needs is hundreds of small kernels; launching them takes the host longer than the GPU needs to
run them. A graph reads expression, head pose and camera where they lay when it was recorded, so they are
copied there. On the CPU the same operations run as they stand. Pictures are those of `render`, bit for bit.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from arguments import PipelineParams
from diff_gaussian_rasterization import Rasterization, has_kernels
from gaussian_renderer import RASTERIZER_ONLY, render
from gaussian_renderer.recording import Recording
from scene.avatar import Avatar
from scene.cameras import Camera
from scene.head_model import GaussianHead
from scene.light_head import LightHead
from scene.views import Drive
from utils.images import quantized

Result = TypeVar("Result")


class Recorded(Generic[Result]):
    """A function of cameras and drives that looks at no value, replayed from a graph where that is possible:
    on CUDA, with the rasterizer's kernels, unless `pipeline` asks for looks at values.

    Recorded anew where the sizes of the pictures change, or what is known of the drives, or `background` is
    another tensor. Results hold until the next call.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Camera], Sequence[Drive], Tensor], Result],
        pipeline: PipelineParams = RASTERIZER_ONLY,
    ) -> None:
        self._function, self._looks_at_values = function, pipeline.debug
        self._kind: tuple | None = None
        self._inputs: list[Tensor] = []
        self._recording: Recording[Result] | None = None

    @torch.no_grad()
    def __call__(self, cameras: Sequence[Camera], drives: Sequence[Drive], background: Tensor) -> Result:
        if self._looks_at_values or not has_kernels(background.device):
            return self._function(cameras, drives, background)
        kind = (
            *((c.width, c.height, c.near) for c in cameras),
            *(tuple(None if part is None else part.shape for part in drive) for drive in drives),
        )
        if kind != self._kind or (self._recording is not None and self._recording.is_old):
            self._kind, self._recording = kind, None
            # As it stands: what libraries make at their first use is there when it is recorded.
            return self._function(cameras, drives, background)
        if self._recording is None:
            self._record(cameras, drives, background)
        else:
            sources = _tensors(cameras, drives, background)
            torch._foreach_copy_(self._inputs, sources, non_blocking=True)
        return self._recording.replay()

    def _record(self, cameras: Sequence[Camera], drives: Sequence[Drive], background: Tensor) -> None:
        device = background.device
        cameras = [_clone_camera(camera, device) for camera in cameras]
        drives = [Drive(*(None if p is None else p.to(device, copy=True) for p in d)) for d in drives]
        background = background.clone()
        self._inputs = _tensors(cameras, drives, background)
        self._recording = Recording(lambda: self._function(cameras, drives, background), device)


class AvatarRenderer:
    """renderer(expressions, cameras, head_poses): pictures of an avatar, `batch` of them a call.

    size: width and height, by default those of the avatar's camera. The avatar's weights are read where they
    lie: whoever changes them afterwards sees it, whoever replaces them needs another renderer.
    """

    def __init__(
        self,
        avatar: Avatar,
        size: tuple[int, int] | None = None,
        batch: int = 1,
        pipeline: PipelineParams = RASTERIZER_ONLY,
    ) -> None:
        assert batch >= 1, "batch: expected at least one picture a call"
        self.avatar, self.batch = avatar, batch
        self.camera = avatar.camera if size is None else avatar.camera.scaled(*size)
        self._draw = Recorded(lambda *inputs: _pictures(avatar.head, *inputs, pipeline), pipeline)

    def __call__(
        self,
        expressions: Tensor,  # [E] or [B, E]
        cameras: Camera | Sequence[Camera] | None = None,
        head_poses: Tensor | None = None,  # [4, 4] or [B, 4, 4] world-to-camera
    ) -> Tensor:
        """uint8 [H, W, 3], or [B, H, W, 3] of expressions [B, E], on the avatar's device.

        One camera serves all; None is the avatar's own. head_poses: in which the head was filmed, where the
        avatar has a torso that follows it. The pictures hold until the next call. Raises ValueError where
        the number of expressions is not `batch`.
        """
        is_single = expressions.dim() == 1
        expressions = expressions[None] if is_single else expressions
        poses = [None] * self.batch if head_poses is None else head_poses.view(-1, *head_poses.shape[-2:])
        cameras = self.camera if cameras is None else cameras
        cameras = [cameras] * self.batch if isinstance(cameras, Camera) else list(cameras)
        device = self.avatar.background.device
        cameras = [c if c.world_to_camera.device == device else c.to(device) for c in cameras]
        if not len(expressions) == len(cameras) == len(poses) == self.batch:
            found = f"{len(expressions)} expressions, {len(cameras)} cameras and {len(poses)} head poses"
            raise ValueError(f"expected {self.batch} of each, got {found}")
        drives = [
            Drive(expression.to(device), None if pose is None else pose.to(device))
            for expression, pose in zip(expressions, poses, strict=True)
        ]
        pictures = self._draw(cameras, drives, self.avatar.background)
        return pictures[0] if is_single else pictures


def draw(
    head: GaussianHead | LightHead,
    cameras: Sequence[Camera],
    drives: Sequence[Drive],
    background: Tensor,
    pipeline: PipelineParams,
) -> list[Rasterization]:
    """A head as several cameras of one size see it, each with a drive of its own."""
    drawn = render(cameras, head.views(cameras, drives), background, pipeline=pipeline)
    return [Rasterization(*parts) for parts in zip(*drawn, strict=True)]


def _pictures(
    head: GaussianHead | LightHead,
    cameras: Sequence[Camera],
    drives: Sequence[Drive],
    background: Tensor,
    pipeline: PipelineParams,
) -> Tensor:  # [B, H, W, 3] uint8
    return torch.stack([quantized(d.image) for d in draw(head, cameras, drives, background, pipeline)])


def _clone_camera(camera: Camera, device: torch.device) -> Camera:
    clone = camera.posed(camera.world_to_camera.to(device, copy=True))
    clone.__dict__["intrinsics"] = camera.intrinsics.to(device, copy=True)
    return clone


def _tensors(cameras: Sequence[Camera], drives: Sequence[Drive], background: Tensor) -> list[Tensor]:
    of_cameras = [t for camera in cameras for t in (camera.world_to_camera, camera.intrinsics)]
    of_drives = [t for drive in drives for t in drive if t is not None]
    return [*of_cameras, *of_drives, background]
