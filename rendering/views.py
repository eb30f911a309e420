"""Which views render.py draws: frames of the clip with their truth, or a swing around the head without
one."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from arguments import NetworkParams, RenderConfig, stored_config
from scene.avatar import Avatar
from scene.cameras import swing_path
from scene.coefficients import matched
from scene.dataset import FrameDataset, resolve_size
from scene.dataset_readers import Clip, Split, read_transforms, split_clip, with_pictures
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


class ViewSets(NamedTuple):
    """What render.py draws: sets by the name of their folder, and what the log should say."""

    sets: dict[str, Collection[HeadView]]
    notes: tuple[str, ...] = ()


def view_sets(config: RenderConfig, avatar: Avatar, device: torch.device) -> ViewSets:
    """The sets that the options ask for.

    A swing around the head plays the motion that the avatar brings, unless a clip is named. The clip that the
    avatar was trained on is drawn with its truth, another one (`-s`) without, into a folder of its own.
    Raises UserError where a clip is needed and cannot be read, or does not fit the avatar.
    """
    m = config.model
    background = torch.full((3,), float(m.white_background), device=device)
    needs_clip = not config.render.novel_view or "source_path" in config.given or avatar.motion is None
    if not needs_clip:
        return ViewSets(
            {"novel_view": _swing(config, avatar, avatar.motion, avatar.picture_size, background)}
        )
    if m.source_path is None:
        raise UserError(f"{m.model_path}: its config names no clip; name it by -s/--source_path")
    clip = read_transforms(m.source_path, m.only_head and not config.render.novel_view)
    is_own = _is_trained_on(avatar, clip, config)
    clip = matched(clip, avatar.expression_names, len(avatar.neutral_expression), "the avatar")
    name = f"driven_by_{clip.root.resolve().name}"
    split = split_clip(len(clip.frames), m.eval, m.test_frames, m.val_frames).thinned(m.max_frames)
    if config.render.novel_view:
        indices = (split.test or split.train) if is_own else range(len(clip.frames))
        motion = torch.from_numpy(np.stack([clip.frames[i].expression for i in indices])).to(device)
        views = _swing(config, avatar, motion, (clip.width, clip.height), background)
        return ViewSets({"novel_view" if is_own else f"{name}_novel_view": views}, clip.notes[1:])
    if not is_own:
        note = f"{clip.root}: not the clip that the avatar was trained on: drawn without scores, into {name}/"
        return ViewSets({name: _driven(config, clip, background)}, (*clip.notes[1:], note))
    clip = with_pictures(clip, m.check_data)
    return ViewSets(_with_truth(config, clip, split, background), clip.notes[1:])


def _with_truth(
    config: RenderConfig, clip: Clip, split: Split, background: Tensor
) -> dict[str, Collection[HeadView]]:
    """Training, validation and held-out frames of the clip that the avatar was trained on."""
    m = config.model
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
                device=background.device,
                data_device="cpu",
                # Every frame is asked for once.
                cache_bytes=0,
            )
            sets[name] = FrameViews(frames, background, config.network)
    return sets


def _is_trained_on(avatar: Avatar, clip: Clip, config: RenderConfig) -> bool:
    """Whether the avatar learned from this clip. An older one does not say: then the folder decides."""
    if avatar.clip_digest is not None:
        return avatar.clip_digest == clip.digest
    stored = stored_config(config.model.model_path).model.source_path
    return stored is not None and stored.resolve() == clip.root.resolve()


def _driven(config: RenderConfig, clip: Clip, background: Tensor) -> list[HeadView]:
    """All frames of another clip, by its cameras; of its torso and pictures nothing is known."""
    device, size = background.device, resolve_size(clip.width, clip.height, config.model.resolution)
    split = split_clip(len(clip.frames), eval=False).thinned(config.model.max_frames)
    views = []
    for i in split.train:
        frame = clip.frames[i]
        camera = clip.camera(frame).scaled(*size).to(device)
        drive = Drive(torch.from_numpy(frame.expression).to(device), camera.world_to_camera)
        views.append(HeadView(camera, drive, background, image_id=frame.image_id))
    return views


def _swing(
    config: RenderConfig, avatar: Avatar, motion: Tensor, picture_size: tuple[int, int], background: Tensor
) -> list[HeadView]:
    """The typical camera of the clip swings around the head while the face plays a motion [F, E]."""
    size = resolve_size(*picture_size, config.model.resolution)
    path = swing_path(avatar.camera.scaled(*size), config.render.num_frames, config.render.max_yaw)
    num, views = len(motion), []
    for i, camera in enumerate(path):
        position = i % (2 * num - 1) if num > 1 else 0
        # There and back again: no jump.
        position = min(position, 2 * num - 2 - position)
        views.append(HeadView(camera.to(background.device), Drive(motion[position]), background))
    return views
