"""A training frame as the loop sees it: composited, disturbed and accompanied as the options ask."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scene.dataset import Frame
from scene.views import HeadView
from training.side_views import SideViews


@dataclass(frozen=True)
class Augmentation:
    """What becomes of every training frame. `background` [3] is that on which frames are composited."""

    background: Tensor
    random_background: bool = False
    # Noise on the driving signal, in shares of its spread [D] over the clip.
    noise: float = 0.0
    signal_spread: Tensor | None = None
    side_views: SideViews | None = None

    def __call__(self, frame: Frame, number: int, generator: torch.Generator) -> HeadView:
        """The view of a frame; side views take turns by `number`, randomness comes from `generator`."""
        drive, background, image = frame.drive, self.background, frame.image
        if self.noise:
            drive = drive._replace(noise=signal_noise(self.signal_spread, self.noise, generator))
        if self.random_background:
            background = torch.rand(3, generator=generator).to(image.device, non_blocking=True)
            image = on_background(frame, self.background, background)
        side = self.side_views[number] if self.side_views is not None else None
        return HeadView(frame.camera, drive, background, image, frame.image_id, side)


def on_background(frame: Frame, old: Tensor, new: Tensor) -> Tensor:
    """The image [3, H, W] of a frame that is composited on `old` [3], on `new` [3] instead."""
    return frame.image + (new - old)[:, None, None] * (1 - frame.matte)


def signal_noise(spread: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Noise for a driving signal [D] whose numbers have this spread [D] over the clip."""
    sample = torch.randn(spread.shape, generator=generator)
    return share * spread * sample.to(spread.device, non_blocking=True)
