"""Which views render.py draws: frames of the clip with their truth, or a swing around the head without
one."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from arguments import RenderConfig
from scene.avatar import Avatar
from scene.cameras import Camera, swing_path
from scene.dataset import FrameDataset, resolve_size
from scene.dataset_readers import Clip, read_clip, split_clip
from utils.errors import UserError


class View(NamedTuple):
    """What to draw, and what it should look like."""

    camera: Camera
    expression: Tensor  # [E]
    head_pose: (
        Tensor | None
    )  # [4, 4] world-to-camera in which the head was filmed; None is the mean of the clip
    torso: Tensor | None  # [4, 4] the torso's own motion; None is at rest
    truth: Tensor | None  # [3, H, W]
    image_id: int | None


class FrameViews:
    """The frames of a data set, decoded one ahead of the other."""

    def __init__(self, frames: FrameDataset, torso_is_given: bool) -> None:
        self.frames = frames
        self.torso_is_given = torso_is_given  # whether the avatar may see the torso's motion of the frames

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[View]:
        for frame in self.frames.frames(range(len(self))):
            yield View(
                frame.camera,
                frame.expression,
                frame.camera.world_to_camera,
                frame.torso if self.torso_is_given else None,
                frame.image,
                frame.image_id,
            )


def view_sets(
    config: RenderConfig, avatar: Avatar, device: torch.device
) -> dict[str, "FrameViews | list[View]"]:
    """The sets that the options ask for, by the name of their folder.

    Raises UserError where the clip cannot be read or does not fit the avatar.
    """
    m = config.model
    clip = read_clip(m.source_path, m.only_head and not config.render.novel_view)
    num_coefficients = len(clip.frames[0].expression)
    if num_coefficients != len(avatar.neutral_expression):
        raise UserError(
            f"{m.source_path}: {num_coefficients} expression coefficients; the avatar was trained with "
            f"{len(avatar.neutral_expression)}"
        )
    split = split_clip(len(clip.frames), m.eval, m.test_frames, m.val_frames).thinned(m.max_frames)
    if config.render.novel_view:
        return {"novel_view": _swing(config, clip, split.test or split.train, avatar, device)}
    indices = {} if config.render.skip_train else {"train": split.train}
    if not config.render.skip_test:
        indices |= {"val": split.val, "test": split.test}
    return {
        name: FrameViews(
            FrameDataset(
                clip,
                chosen,
                resolution=m.resolution,
                background=[float(m.white_background)] * 3,
                only_head=m.only_head,
                device=device,
                data_device="cpu",
                cache_bytes=0,  # every frame is asked for once
            ),
            config.network.torso_tracking,
        )
        for name, chosen in indices.items()
        if chosen
    }


def _swing(config: RenderConfig, clip: Clip, indices: tuple[int, ...], avatar: Avatar, device) -> list[View]:
    """The typical camera of the clip swings around the head while the face plays the expressions of
    `indices`."""
    size = resolve_size(clip.width, clip.height, config.model.resolution)
    path = swing_path(avatar.camera.scaled(*size), config.render.num_frames, config.render.max_yaw)
    views = []
    for i, camera in enumerate(path):
        position = i % (2 * len(indices) - 1) if len(indices) > 1 else 0
        position = min(position, 2 * len(indices) - 2 - position)  # there and back again: no jump
        expression = torch.from_numpy(clip.frames[indices[position]].expression).to(device)
        views.append(View(camera.to(device), expression, None, None, None, None))
    return views
