"""Expression coefficients over time, whoever made them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.errors import UserError

# Shorter than this, in seconds, a sequence was made by hand: its first values are no face at rest.
SHORTEST_FOOTAGE = 1.0
# Of a step between two frames: so far off an even grid a frame may lie and count as even.
UNEVEN = 0.25
# Times may leave out so many frames for every one that is there.
MOST_MISSING = 100


@dataclass(frozen=True, eq=False)
class DrivingSequence:
    """F frames of E coefficients at an even rate."""

    # Where it came from, for messages.
    source: Path
    # ARKit's spelling where they are ARKit's; None: only the place says which is which.
    names: tuple[str, ...] | None
    coefficients: np.ndarray  # [F, E] float32
    # Frames per second.
    rate: float
    # [F, 3, 3] from the head to the camera, OpenGL axes (x right, y up, z to the camera); None: not known.
    rotations: np.ndarray | None = None
    # A file for each frame, which need not be there.
    pictures: tuple[Path, ...] | None = None
    # [E] how far each coefficient goes from zero, at which it rests, where the maker says so; 0: not known.
    reach: np.ndarray | None = None
    # What the log should say.
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.coefficients)

    @property
    def is_footage(self) -> bool:
        """Whether it has to tell how this face rests and how far it moves, and is long enough to."""
        return self.reach is None and len(self) / self.rate >= SHORTEST_FOOTAGE

    def at_rate(self, rate: float) -> "DrivingSequence":
        """The same motion at another rate: of every new frame the old one that lasts then."""
        count = max(1, round(len(self) * rate / self.rate))
        positions = (np.arange(count) * self.rate / rate + 1e-6).astype(int).clip(max=len(self) - 1)
        return replace(self.taken(positions), rate=rate)

    def thinned(self, max_frames: int) -> "DrivingSequence":
        """So many frames, spread evenly; 0 = all. They play at the same rate, and so faster."""
        if not 0 < max_frames < len(self):
            return self
        return self.taken(np.arange(max_frames) * len(self) // max_frames)

    def taken(self, frames: np.ndarray) -> "DrivingSequence":
        """The frames at these positions."""
        return replace(
            self,
            coefficients=self.coefficients[frames],
            rotations=None if self.rotations is None else self.rotations[frames],
            pictures=None if self.pictures is None else tuple(self.pictures[i] for i in frames),
        )


def evenly_timed(source: Path, times: Sequence[float], values: np.ndarray) -> tuple[np.ndarray, float]:
    """Bring values [F, C] at rising times (seconds) to an even rate, that of the median step.

    Values whose times are even stay as they are, others are interpolated. Returns values and frames per
    second. Raises UserError where the times do not rise, or lie too far apart.
    """
    times = np.asarray(times, np.float64)
    steps = np.diff(times)
    if not (steps > 0).all():
        late = int(np.argmin(steps > 0)) + 1
        raise UserError(
            f"{source}: frame {late}: time {times[late]:g} s: expected later than {times[late - 1]:g} s"
        )
    even = np.linspace(times[0], times[-1], len(times))
    step = even[1] - even[0]
    if np.abs(times - even).max() <= UNEVEN * step:
        return values, float(1 / step)
    step = float(np.median(steps))
    count = int((times[-1] - times[0]) / step + 0.5) + 1
    if count > MOST_MISSING * len(times):
        span = f"{len(times)} frames over {times[-1] - times[0]:g} s"
        raise UserError(f"{source}: {span}: expected steps of about {step:g} s")
    grid = times[0] + step * np.arange(count)
    columns = [np.interp(grid, times, column) for column in values.T]
    return np.stack(columns, axis=1).astype(values.dtype), 1 / step
