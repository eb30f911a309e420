"""Work on a GPU, recorded as a CUDA graph and replayed: what it reads and writes has fixed addresses."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from diff_gaussian_rasterization import has_short_lists

Result = TypeVar("Result")


class Recording(Generic[Result]):
    """A function without arguments, recorded on a CUDA device; its result holds until the next replay."""

    def __init__(self, function: Callable[[], Result], device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._graph = torch.cuda.CUDAGraph()
            # Other threads, which decode frames or fetch pictures, may use the device meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._result = function()

    @property
    def is_old(self) -> bool:
        """Whether to record anew: the rasterizer's lists, which a graph keeps as they were, are short."""
        return has_short_lists(self._device)

    def replay(self) -> Result:
        """Do it once more, with what lies at its addresses now."""
        self._graph.replay()
        return self._result
