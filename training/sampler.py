"""The order in which training frames are visited: shuffled epochs without replacement, resumable."""

import torch
from torch import Tensor


class EpochSampler:
    """Draws indices 0..n-1, every one once per epoch, in an order that the generator decides."""

    def __init__(self, num_frames: int, generator: torch.Generator) -> None:
        self.num_frames = num_frames
        self.generator = generator
        self.pending: list[int] = []

    def next(self) -> int:
        """The next index."""
        self._fill(1)
        return self.pending.pop(0)

    def upcoming(self, count: int) -> list[int]:
        """The next `count` indices without taking them, for prefetching."""
        self._fill(count)
        return self.pending[:count]

    def state(self) -> Tensor:
        return torch.tensor(self.pending, dtype=torch.int64)

    def restore(self, state: Tensor) -> None:
        self.pending = state.tolist()

    def _fill(self, count: int) -> None:
        while len(self.pending) < count:
            self.pending += torch.randperm(self.num_frames, generator=self.generator).tolist()
