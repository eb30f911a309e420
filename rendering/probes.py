"""What a full head is asked for to be baked (rendering/baking.py): expressions, and poses of the head."""

from typing import NamedTuple

import torch
from torch import Tensor

from scene.head_model import POSE_CODE_SIZE, POSE_GAIN
from scene.light_head import Torso
from scene.torso import nearest_rigid
from scene.views import Drive

NUM_RANDOM = 64
# How many coefficients a random expression has.
NUM_TOGETHER = 6
# Beside that of a frame of the clip.
WEIGHT_OF_OTHERS = 0.15
# Poses of the head about the mean one, their standard deviation as a share of the range that the clip has,
# and what each counts: expressions shall be as exact as without.
NUM_POSES = 96
POSE_SPREAD = 0.2
WEIGHT_OF_POSES = 0.3


class Probes(NamedTuple):
    """S drives to look at, and how much each counts."""

    drives: list[Drive]  # the first one is neutral, and without a pose
    weights: Tensor  # [S]


def probes(neutral: Tensor, motion: Tensor, ranges: Tensor, torso: Torso, seed: int = 0) -> Probes:
    """The neutral face, frames of a clip [F, E], each coefficient alone at 0.5 and 1, random ones; and where
    the full head sees a pose, the frames once more in poses such as those of the clip."""
    generator = torch.Generator().manual_seed(seed)
    size = len(neutral)
    alone = torch.eye(size, device=neutral.device)
    chosen = torch.rand(NUM_RANDOM, size, generator=generator) < NUM_TOGETHER / size
    share = torch.rand(NUM_RANDOM, size, generator=generator) * chosen
    together = share.to(neutral.device) * ranges[1].clamp(0, 1)
    # Every other one beyond what the clip has.
    together[::2] = share.to(neutral.device)[::2]
    others = torch.cat([neutral + 0.5 * alone, neutral + alone, neutral + together])
    weights = torch.ones(1 + len(motion) + len(others), device=neutral.device)
    weights[1 + len(motion) :] = WEIGHT_OF_OTHERS
    drives = [Drive(expression) for expression in torch.cat([neutral[None], motion, others])]
    poses = usual_poses(torso, generator) if torso.codes.any() else []
    drives += [Drive(motion[i % len(motion)], pose) for i, pose in enumerate(poses)]
    return Probes(drives, torch.cat([weights, weights.new_full((len(poses),), WEIGHT_OF_POSES)]))


def usual_poses(torso: Torso, generator: torch.Generator) -> list[Tensor]:  # each [3, 4]
    """Poses of the head such as the clip has, as far as the ranges of their codes tell."""
    least, most = torso.codes / POSE_GAIN
    sample = torch.randn(NUM_POSES, POSE_CODE_SIZE, generator=generator).to(least)
    codes = (POSE_SPREAD * (most - least) * sample).clamp(least, most)
    return [nearest_rigid(torso.mean_pose + code.view(3, 4)) for code in codes]
