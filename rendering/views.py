"""Which views render.py draws: frames of the clip with their truth; without one the path of a camera around
the head, or a head that something else drives."""

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from arguments import NetworkParams, RenderConfig, stored_config
from rendering.driving.reenactment import driven_by_sequence, one_expression, spoken
from rendering.novel_views import along_path, path_suffix
from rendering.sets import DrivenViews, ViewSets
from scene.avatar import Avatar
from scene.coefficients import matched
from scene.dataset import FrameDataset, resolve_size
from scene.dataset_readers import Clip, Split, read_transforms, split_clip, with_pictures
from scene.views import HeadView
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


def view_sets(config: RenderConfig, avatar: Avatar, device: torch.device) -> ViewSets:
    """The sets that the options ask for.

    A path around the head plays the motion that the avatar brings, unless a clip is named. The clip that the
    avatar was trained on is drawn with its truth, another one (`-s`) without, into a folder of its own.
    Raises UserError where a clip is needed and cannot be read, or does not fit the avatar.
    """
    m, path = config.model, config.render.camera_path
    # Colour on black is colour times alpha.
    is_white = m.white_background and not config.render.transparent
    background = torch.full((3,), float(is_white), device=device)
    if config.render.expression is not None:
        return one_expression(config, avatar, background)
    if config.render.audio is not None:
        return spoken(config, avatar, background)
    if config.render.driving is not None:
        return driven_by_sequence(config, avatar, background)
    if path and "source_path" not in config.given and avatar.motion is not None:
        return ViewSets({path_suffix(path): along_path(config, avatar, avatar.motion, background)})
    if m.source_path is None:
        raise UserError(f"{m.model_path}: its config names no clip; name it by -s/--source_path")
    clip = read_transforms(m.source_path, m.only_head and not path)
    is_own = _is_trained_on(avatar, clip, config)
    clip = matched(clip, avatar.expression_names, len(avatar.neutral_expression), "the avatar")
    name = f"driven_by_{clip.root.resolve().name}"
    split = split_clip(len(clip.frames), m.eval, m.test_frames, m.val_frames).thinned(m.max_frames)
    if path:
        indices = (split.test or split.train) if is_own else range(len(clip.frames))
        motion = _expressions(clip, indices, device)
        views = along_path(config, avatar, motion, background, (clip.width, clip.height))
        suffix = path_suffix(path)
        return ViewSets({suffix if is_own else f"{name}_{suffix}": views}, clip.notes[1:])
    if not is_own:
        note = f"{clip.root}: not the clip that the avatar was trained on: drawn without scores, into {name}/"
        return ViewSets({name: _driven(config, clip, background)}, (*clip.notes[1:], note))
    clip = with_pictures(clip, m.check_data)
    return ViewSets(_with_truth(config, clip, split, background), clip.notes[1:], is_scored=True)


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


def _driven(config: RenderConfig, clip: Clip, background: Tensor) -> DrivenViews:
    """All frames of another clip, by its cameras; of its torso and pictures nothing is known."""
    size = resolve_size(clip.width, clip.height, config.model.resolution)
    chosen = split_clip(len(clip.frames), eval=False).thinned(config.model.max_frames).train
    frames = [clip.frames[i] for i in chosen]
    return DrivenViews(
        [clip.camera(frame).scaled(*size) for frame in frames],
        _expressions(clip, chosen, background.device),
        background,
        moves_head=True,
        image_ids=[frame.image_id for frame in frames],
    )


def _expressions(clip: Clip, indices: Iterable[int], device: torch.device) -> Tensor:  # [F, E]
    return torch.from_numpy(np.stack([clip.frames[i].expression for i in indices])).to(device)
