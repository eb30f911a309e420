"""Products of matrices on a GPU's tensor cores."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def products_by_tensor_cores(device: torch.device) -> Iterator[None]:
    """On a GPU, products of matrices within the block are in TF32, with 10 bits of the factors: what limits
    large networks (docs/performance.md), and scores do not see it. Holds for the whole process."""
    if device.type != "cuda":
        yield
        return
    usual = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(usual)
