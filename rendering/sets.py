"""What render.py draws: sets of views, and the views of a head that is driven, which have no truth."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import torch
from torch import Tensor

from scene.cameras import Camera
from scene.views import Drive, HeadView
from utils.images import from_uint8, read_png


class ViewSets(NamedTuple):
    """Sets by the name of their folder, and what the log should say."""

    sets: dict[str, Collection[HeadView]]
    notes: tuple[str, ...] = ()
    # Frames per second at which they were filmed; None: not known.
    rate: float | None = None
    # Whether some of the views have a truth.
    is_scored: bool = False
    # A file that is heard in the films.
    sound: Path | None = None


@dataclass(frozen=True, eq=False)
class DrivenViews:
    """A head that plays expressions, seen by one camera after another; a collection of views, made when asked
    for."""

    cameras: Sequence[Camera]  # F of them
    expressions: Tensor  # [F, E]
    background: Tensor  # [3]
    # Whether the head was filmed by the cameras, so that its pose is theirs; else it keeps its mean pose.
    moves_head: bool = False
    image_ids: Sequence[int] | None = None
    # Who drives: a picture for each view; where one is not there, the one before it stays.
    pictures: Sequence[Path] | None = None

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[HeadView]:
        companions = _companions(self.pictures, [camera.height for camera in self.cameras])
        for i, (camera, expression, companion) in enumerate(
            zip(self.cameras, self.expressions, companions, strict=True)
        ):
            camera = camera.to(self.background.device)
            yield HeadView(
                camera,
                Drive(expression, camera.world_to_camera if self.moves_head else None),
                self.background,
                image_id=None if self.image_ids is None else self.image_ids[i],
                companion=companion,
            )


def there_and_back(motion: Tensor, num_frames: int) -> Tensor:  # [F, E] -> [num_frames, E]
    """A motion, forwards and backwards until the frames are full: no jump."""
    last = len(motion) - 1
    if last == 0:
        return motion.expand(num_frames, -1)
    positions = torch.arange(num_frames) % (2 * last + 1)
    return motion[torch.minimum(positions, 2 * last - positions).to(motion.device)]


def held(motion: Tensor, num_frames: int) -> Tensor:  # [F, E] -> [num_frames, E]
    """A motion, whose last frame stays until the frames are full."""
    return motion[torch.arange(num_frames, device=motion.device).clamp(max=len(motion) - 1)]


def _companions(pictures: Sequence[Path] | None, heights: Sequence[int]) -> Iterator[Tensor | None]:
    """A picture for each view, scaled to its height, all as wide as the first, as films have it; None where
    no picture is there."""
    latest = next((path for path in pictures or () if path.is_file()), None)
    if latest is None:
        yield from (None for _ in heights)
        return
    first = read_png(latest)
    for path, height in zip(pictures, heights, strict=True):
        latest = path if path.is_file() else latest
        width = max(1, round(first.shape[1] * height / first.shape[0]))
        yield from_uint8(cv2.resize(read_png(latest), (width, height), interpolation=cv2.INTER_AREA))
