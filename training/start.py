"""What a run makes of its options and its training frames before the first step."""

import numpy as np
import torch
from torch import Tensor

from arguments import TrainConfig
from scene.avatar import typical_camera
from scene.dataset import FrameDataset
from scene.dataset_readers import Clip
from scene.head_model import GaussianHead
from scene.side_views import SideViews
from training.state import TrainingState, architecture_for, wants_torso_prediction
from utils.checkpoint import find_iteration
from utils.errors import UserError

STARTING_FRAMES = 24  # whose mattes say where the Gaussians start


def open_frames(
    config: TrainConfig, clip: Clip, indices: tuple[int, ...], background: Tensor, device: torch.device
) -> FrameDataset:
    """Some frames of the clip, as the options ask for them."""
    m = config.model
    return FrameDataset(
        clip,
        indices,
        resolution=m.resolution,
        background=background,
        only_head=m.only_head,
        device=device,
        data_device=None if m.data_device == "auto" else m.data_device,
        cache_bytes=None if m.cache_gb is None else int(m.cache_gb * 2**30),
    )


def starting_state(
    config: TrainConfig, clip: Clip, frames: FrameDataset, device: torch.device
) -> TrainingState:
    """The state to go on from: of a checkpoint where the options name one, else a fresh one. Corrections of
    poses, if it has any, do nothing that the driving signal could do."""
    checkpoint = config.run.start_checkpoint
    if checkpoint is None and config.run.resume:
        checkpoint = find_iteration(config.model.model_path / "checkpoints")
    if checkpoint is None:
        state = _fresh_state(config, clip, frames, device)
    else:
        state = TrainingState.load(checkpoint, config, len(frames), device)
    if state.poses is not None:
        state.poses.keep_free_of_(driving_signals(state.head, frames))
    return state


def _fresh_state(
    config: TrainConfig, clip: Clip, frames: FrameDataset, device: torch.device
) -> TrainingState:
    architecture = architecture_for(config, clip, frames.cameras)
    torsos = torch.stack(frames.torsos) if architecture.torso_prediction else None
    mattes = _starting_mattes(config, frames)
    return TrainingState.fresh(config, architecture, frames.cameras, device, mattes, torsos)


def _starting_mattes(config: TrainConfig, frames: FrameDataset) -> dict[int, Tensor]:
    """Mattes of some training frames by position, where they say where the Gaussians start."""
    if not (config.network.start_in_hull or config.network.start_on_surface):
        return {}
    chosen = np.linspace(0, len(frames) - 1, STARTING_FRAMES).round().astype(int)
    return {i: frames[i].matte for i in sorted(set(chosen.tolist()))}


def side_views_of(frames: FrameDataset, seed: int) -> SideViews:
    """Views from cameras beside those of the clip. Raises UserError where the matte of its typical frame is
    empty."""
    camera = typical_camera(frames.cameras)
    frame = frames[frames.cameras.index(camera)]
    try:
        return SideViews(camera, frame.matte, torch.Generator().manual_seed(seed))
    except ValueError as error:
        raise UserError(f"--lambda_outside: frame {frame.image_id}: {error}; look at mask/") from None


def signal_spread(head: GaussianHead, frames: FrameDataset) -> Tensor:
    """How much each number of the driving signal varies over the frames: [D]."""
    return driving_signals(head, frames).std(dim=0, correction=0)


def driving_signals(head: GaussianHead, frames: FrameDataset) -> Tensor:
    """The driving signal of every frame: [F, D]."""
    drives = zip(frames.expressions, frames.cameras, frames.torsos, strict=True)
    return torch.stack([head.driving_signal(e, camera.world_to_camera, torso) for e, camera, torso in drives])


def torso_notice(config: TrainConfig, clip: Clip) -> str:
    """Why the torso's motion is not predicted although the options ask for it; else nothing."""
    if not wants_torso_prediction(config) or clip.frames[0].torso is not None:
        return ""
    return (
        f"{clip.root / 'transforms.json'} has no torso_transform: --torso_prediction is off; the torso comes "
        f"out sharper after: python prepare.py --torso-only {clip.root}"
    )
