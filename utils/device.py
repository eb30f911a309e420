"""Which device computes, and whether it has room."""

import contextlib
from collections.abc import Iterator

import torch

from utils.errors import UserError

# A head of 100,000 Gaussians with optimizer state and activations, and some air.
MINIMUM_FREE_GPU_BYTES = 2 * 2**30


def choose_device(name: str) -> torch.device:
    """`auto`: CUDA when usable, else the CPU; otherwise what was named. Raises UserError where it is not
    there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"--device {name}: this PyTorch ({torch.__version__}) sees no usable CUDA GPU")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise UserError(
                f"--device {name}: there are {torch.cuda.device_count()} CUDA GPUs, counted from 0"
            )
    return device


def check_free_memory(device: torch.device, image_bytes: int = 0) -> None:
    """Raise UserError where training would soon run out of GPU memory. `image_bytes`: frames kept on the
    device."""
    if device.type != "cuda":
        return
    free, total = torch.cuda.mem_get_info(device)
    needed = MINIMUM_FREE_GPU_BYTES + image_bytes
    if free < needed:
        raise UserError(
            f"--device {device}: {free / 2**30:.1f} of {total / 2**30:.1f} GB are free, training needs about "
            f"{needed / 2**30:.1f} GB: end other programs, or use a smaller -r or --data_device cpu"
        )


def describe(device: torch.device) -> str:
    """One line for logs and results."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    return f"{name}, torch {torch.__version__}"


@contextlib.contextmanager
def lack_of_memory_in_words() -> Iterator[None]:
    """Turn a lack of memory in the block into a UserError that says what to turn down."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        where = "GPU memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
        raise UserError(
            f"out of {where}; what was saved before is whole, go on with --resume; turn down --resolution "
            "(-r 2 halves both sides) or --max_gaussians, or keep the frames elsewhere: --data_device cpu"
        ) from None
