"""What follows from tensors that hardly ever change is computed once."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """Remembers the last value, for as long as the tensors it was computed from are the same and nothing was
    written to them. On the CPU alone: a CUDA graph keeps what it was recorded with."""

    def __init__(self) -> None:
        self._last: tuple[list[tuple[Tensor, int]], Value] | None = None

    def __call__(self, tensors: Sequence[Tensor], compute: Callable[[], Value]) -> Value:
        """`compute()`, or what it returned for these tensors the last time."""
        if torch.is_inference_mode_enabled() or any(
            t.is_cuda or t.is_inference() or t.requires_grad for t in tensors
        ):
            return compute()
        last = self._last
        if last is None or not _are_untouched(last[0], tensors):
            # Versions before the values, should another thread write meanwhile.
            self._last = last = [(t, t._version) for t in tensors], compute()
        return last[1]


def _are_untouched(known: list[tuple[Tensor, int]], tensors: Sequence[Tensor]) -> bool:
    return len(known) == len(tensors) and all(
        t is before and t._version == version for t, (before, version) in zip(tensors, known)
    )
