"""Which views render.py draws: frames of the clip with their truth, or a swing around the head without
one."""

from collections.abc import Iterator

import torch
from torch import Tensor

from arguments import NetworkParams, RenderConfig
from scene.avatar import Avatar
from scene.cameras import swing_path
from scene.dataset import FrameDataset, resolve_size
from scene.dataset_readers import Clip, read_clip, split_clip
from scene.views import Drive, HeadView
from utils.errors import UserError


class FrameViews:
    """The frames of a data set as views with their truth, decoded one ahead of the other.

    The avatar sees the torso's own motion, which was measured in the image of the frame, only where the
    options of the run say so (`torso_tracking`): else a held-out frame would tell what it is compared with.
    """

    def __init__(self, frames: FrameDataset, background: Tensor, network: NetworkParams) -> None:
        self.frames, self.background = frames, background
        self.torso_is_given = network.torso_tracking

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[HeadView]:
        for frame in self.frames.frames(range(len(self))):
            drive = frame.drive if self.torso_is_given else frame.drive._replace(torso=None)
            yield HeadView(frame.camera, drive, self.background, frame.image, frame.image_id)


def view_sets(
    config: RenderConfig, avatar: Avatar, device: torch.device
) -> dict[str, FrameViews | list[HeadView]]:
    """The sets that the options ask for, by the name of their folder.

    Raises UserError where the clip cannot be read or does not fit the avatar.
    """
    m = config.model
    background = torch.full((3,), float(m.white_background), device=device)
    clip = read_clip(m.source_path, m.only_head and not config.render.novel_view)
    num_coefficients = len(clip.frames[0].expression)
    if num_coefficients != len(avatar.neutral_expression):
        raise UserError(
            f"{m.source_path}: {num_coefficients} expression coefficients; the avatar was trained with "
            f"{len(avatar.neutral_expression)}"
        )
    split = split_clip(len(clip.frames), m.eval, m.test_frames, m.val_frames).thinned(m.max_frames)
    if config.render.novel_view:
        return {"novel_view": _swing(config, clip, split.test or split.train, avatar, background)}
    indices = {} if config.render.skip_train else {"train": split.train}
    if not config.render.skip_test:
        indices |= {"val": split.val, "test": split.test}
    sets = {}
    for name, chosen in indices.items():
        if chosen:
            frames = FrameDataset(
                clip,
                chosen,
                resolution=m.resolution,
                background=background,
                only_head=m.only_head,
                device=device,
                data_device="cpu",
                # Every frame is asked for once.
                cache_bytes=0,
            )
            sets[name] = FrameViews(frames, background, config.network)
    return sets


def _swing(
    config: RenderConfig, clip: Clip, indices: tuple[int, ...], avatar: Avatar, background: Tensor
) -> list[HeadView]:
    """The typical camera of the clip swings around the head while the face plays the expressions of
    `indices`."""
    device = background.device
    size = resolve_size(clip.width, clip.height, config.model.resolution)
    path = swing_path(avatar.camera.scaled(*size), config.render.num_frames, config.render.max_yaw)
    views = []
    for i, camera in enumerate(path):
        position = i % (2 * len(indices) - 1) if len(indices) > 1 else 0
        # There and back again: no jump.
        position = min(position, 2 * len(indices) - 2 - position)
        expression = torch.from_numpy(clip.frames[indices[position]].expression).to(device)
        views.append(HeadView(camera.to(device), Drive(expression), background))
    return views
