"""Work on a GPU, recorded as a CUDA graph and replayed: what it reads and writes has fixed addresses."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

# Replays; the rasterizer's lists, which a graph keeps as they were, may have grown since.
RECORD_AGAIN = 500

Result = TypeVar("Result")


class Recording(Generic[Result]):
    """A function without arguments, recorded on a CUDA device; its result holds until the next replay."""

    def __init__(self, function: Callable[[], Result], device: torch.device) -> None:
        self._num_replays = 0
        with torch.cuda.device(device):
            self._graph = torch.cuda.CUDAGraph()
            # Other threads, which decode frames or fetch pictures, may use the device meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._result = function()

    @property
    def is_old(self) -> bool:
        """Whether it is time to record anew."""
        return self._num_replays >= RECORD_AGAIN

    def replay(self) -> Result:
        """Do it once more, with what lies at its addresses now."""
        self._graph.replay()
        self._num_replays += 1
        return self._result
