"""Training frames as the loop sees them: composited, disturbed and accompanied as the options ask."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scene.dataset import Frame
from scene.views import HeadView
from training.side_views import SideViews


@dataclass(frozen=True)
class Augmentation:
    """What becomes of the frames of every step. `background` [3] is that on which they are composited."""

    background: Tensor
    random_background: bool = False
    # Noise on the driving signal, in shares of its spread [D] over the clip.
    noise: float = 0.0
    signal_spread: Tensor | None = None
    side_views: SideViews | None = None

    @cached_property
    def _spread_here(self) -> Tensor:
        return self.signal_spread.cpu()

    def __call__(self, frames: Sequence[Frame], number: int, generator: torch.Generator) -> list[HeadView]:
        """The views of V frames, on one background; side views take turns by `number` beside the first of
        them, randomness comes from `generator`."""
        background, device = self.background, frames[0].image.device
        # Drawn on the CPU, so that their sequence is the same for every device, and copied there at once.
        random = [signal_noise(self._spread_here, self.noise, generator) for _ in frames if self.noise]
        if self.random_background:
            random.append(torch.rand(3, generator=generator))
        if random:
            sizes = [len(numbers) for numbers in random]
            random = list(torch.cat(random).to(device, non_blocking=True).split(sizes))
        if self.random_background:
            background = random.pop()
        views = []
        for i, frame in enumerate(frames):
            drive = frame.drive._replace(noise=random[i]) if self.noise else frame.drive
            image = frame.image
            if self.random_background:
                image = on_background(frame, self.background, background)
            side = self.side_views[number] if self.side_views is not None and i == 0 else None
            views.append(HeadView(frame.camera, drive, background, image, frame.image_id, side))
        return views


def on_background(frame: Frame, old: Tensor, new: Tensor) -> Tensor:
    """The image [3, H, W] of a frame that is composited on `old` [3], on `new` [3] instead."""
    return torch.addcmul(frame.image, (new - old)[:, None, None], 1 - frame.matte)


def signal_noise(spread: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Noise for a driving signal [D] whose numbers have this spread [D] over the clip; both on the CPU."""
    return share * spread * torch.randn(spread.shape, generator=generator)
