"""A training frame as the loop sees it: corrected, disturbed and composited as the options ask."""

from typing import NamedTuple

import torch
from torch import Tensor

from scene.cameras import Camera
from scene.dataset import Frame


class TrainingView(NamedTuple):
    """What to draw and what it should look like."""

    camera: Camera
    expression: Tensor  # [E]
    head_pose: Tensor  # [4, 4] world-to-camera, corrected like the camera: what moves torso and conditioning
    torso: Tensor | None  # [4, 4]
    noise: Tensor | None  # [D] for the driving signal
    image: Tensor  # [3, H, W] the truth, on `background`
    background: Tensor  # [3]
    side_pose: Tensor | None = None  # [4, 4] another camera, seen from which
    outside: Tensor | None = None  # [H, W] bool: nobody can be there


def on_background(frame: Frame, old: Tensor, new: Tensor) -> Tensor:
    """The image [3, H, W] of a frame that is composited on `old` [3], on `new` [3] instead."""
    return frame.image + (new - old)[:, None, None] * (1 - frame.matte)


def signal_noise(spread: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Noise for a driving signal [D] whose numbers have this spread [D] over the clip."""
    sample = torch.randn(spread.shape, generator=generator)
    return share * spread * sample.to(spread.device, non_blocking=True)
