"""A training frame as the loop sees it: composited, disturbed and accompanied as the options ask."""

from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def _spread_here(self) -> Tensor:
        return self.signal_spread.cpu()

    def __call__(self, frame: Frame, number: int, generator: torch.Generator) -> HeadView:
        """The view of a frame; side views take turns by `number`, randomness comes from `generator`."""
        drive, background, image = frame.drive, self.background, frame.image
        # Drawn on the CPU, so that their sequence is the same for every device, and copied there at once.
        noise = signal_noise(self._spread_here, self.noise, generator) if self.noise else torch.empty(0)
        color = torch.rand(3, generator=generator) if self.random_background else torch.empty(0)
        if len(noise) or len(color):
            noise, color = (
                torch.cat([noise, color]).to(image.device, non_blocking=True).split([len(noise), len(color)])
            )
        if self.noise:
            drive = drive._replace(noise=noise)
        if self.random_background:
            background, image = color, on_background(frame, self.background, color)
        side = self.side_views[number] if self.side_views is not None else None
        return HeadView(frame.camera, drive, background, image, frame.image_id, side)


def on_background(frame: Frame, old: Tensor, new: Tensor) -> Tensor:
    """The image [3, H, W] of a frame that is composited on `old` [3], on `new` [3] instead."""
    return torch.addcmul(frame.image, (new - old)[:, None, None], 1 - frame.matte)


def signal_noise(spread: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Noise for a driving signal [D] whose numbers have this spread [D] over the clip; both on the CPU."""
    return share * spread * torch.randn(spread.shape, generator=generator)
