"""What the light form of an avatar loses: its pictures beside the full head's, and beside the truth."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from arguments import PipelineParams
from gaussian_renderer import render
from scene.avatar import Avatar
from scene.cameras import Camera, swing_path
from scene.head_model import GaussianHead
from scene.light_head import LightHead
from scene.views import HeadView
from utils.metrics import psnr
from utils.progress import track

SIDE_YAW = 30.0
# What a good avatar has on held-out frames, dB; where there is no truth, the loss is told for this one.
USUAL_PSNR = 30.0


class Agreement(NamedTuple):
    """PSNR of the light form against the full head, dB: F expressions of the clip and E coefficients."""

    front: Tensor  # [F]
    side: Tensor  # [F] at SIDE_YAW
    alone: Tensor  # [E] each coefficient at 1, from the front


class Truth(NamedTuple):
    """Mean PSNR of F frames against their truth, dB."""

    full: float
    light: float
    num_frames: int


def agreement(avatar: Avatar, light: LightHead, motion: Tensor, quiet: bool = True) -> Agreement:
    """Compare both heads at the avatar's camera, in expressions [F, E] that the fit has not seen."""
    camera, neutral = avatar.camera, avatar.neutral_expression
    side = swing_path(camera, 4, SIDE_YAW)[1]
    alone = neutral + torch.eye(len(neutral), device=neutral.device)
    pairs = [(c, e) for c, row in ((camera, motion), (side, motion), (camera, alone)) for e in row]
    scores = torch.stack(
        [_psnr(avatar, light, *pair) for pair in track(pairs, len(pairs), "comparing", quiet=quiet)]
    )
    return Agreement(*scores.split([len(motion), len(motion), len(alone)]))


@torch.no_grad()
def _psnr(avatar: Avatar, light: LightHead, camera: Camera, expression: Tensor) -> Tensor:
    full, other = (
        render(camera, head(camera, expression), avatar.background).image for head in (avatar.head, light)
    )
    return psnr(other, full)


@torch.no_grad()
def against_truth(
    avatar: Avatar, light: LightHead, views: Iterable[HeadView], pipeline: PipelineParams
) -> Truth:
    """Score both heads on frames with their truth."""

    def score(view: HeadView, head: GaussianHead | LightHead) -> float:
        drawn = render(view.camera, head(view.camera, view.drive), view.background, pipeline=pipeline)
        return float(psnr(drawn.image, view.truth))

    scores = torch.tensor([[score(view, head) for head in (avatar.head, light)] for view in views])
    return Truth(*scores.mean(dim=0).tolist(), len(scores))


def expected_loss(agreement_psnr: float, truth_psnr: float = USUAL_PSNR) -> float:
    """By how many dB a head of some PSNR against the truth falls, if errors add up as independent ones do."""
    return 10 * math.log10(1 + 10 ** ((truth_psnr - agreement_psnr) / 10))
