"""The step of scene/adam.py as one launch."""

import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from diff_gaussian_rasterization import has_kernels
from diff_gaussian_rasterization.cuda import compiler
from diff_gaussian_rasterization.cuda.driver import Kernel, Library, current_stream

SOURCE = Path(__file__).parent / "kernels" / "adam.cu"
THREADS = 256
# Parameters of a launch: what it is told must fit into 4 KB.
MAX_PARAMETERS = 44
_PARAMETER, _EMPTY = "6P2f4i", (0,) * 6 + (0.0,) * 2 + (0,) * 4
LAYOUT = _PARAMETER * MAX_PARAMETERS + "2dfiP"


def can_step(parameters: Sequence[Tensor]) -> bool:
    """Whether the kernel can move all of these: dense float32 on one CUDA device."""
    first = parameters[0]
    return has_kernels(first.device) and all(
        p.dtype is torch.float32 and p.device == first.device and p.is_contiguous() for p in parameters
    )


def adam_step(
    moved: Sequence[tuple],
    betas: tuple[float, float],
    eps: float,
    skip: Tensor | None = None,
    launcher=None,
) -> None:
    """Move parameters by their gradients: (group, parameter, moments) of each, where `can_step`.

    `skip` [] float32 on their device: nothing moves where it is not 0.
    """
    device = moved[0][1].device
    launch = launcher or functools.partial(_launch, device)
    for start in range(0, len(moved), MAX_PARAMETERS):
        part = moved[start : start + MAX_PARAMETERS]
        arguments, num_blocks, grads = [], 0, []
        for group, parameter, moments in part:
            grads.append(parameter.grad.contiguous())
            is_tensor = isinstance(group.rate, Tensor)
            assert not group.on_sphere or parameter.shape[-1] == 4
            pointers = [t.data_ptr() for t in (parameter, grads[-1], moments.exp_avg, moments.exp_avg_sq)]
            is_aligned = all(p % 16 == 0 for p in pointers) and parameter.numel() % 4 == 0
            arguments += [*pointers, moments.step.data_ptr()]
            arguments += [group.rate.data_ptr() if is_tensor else 0, 0.0 if is_tensor else group.rate]
            arguments += [
                group.weight_decay,
                parameter.numel(),
                num_blocks,
                int(group.on_sphere),
                int(is_aligned),
            ]
            num_blocks += -(-parameter.numel() // (4 * THREADS))
        arguments += _EMPTY * (MAX_PARAMETERS - len(part))
        launch(num_blocks, (*arguments, *betas, eps, len(part), 0 if skip is None else skip.data_ptr()))


def _launch(device: torch.device, num_blocks: int, arguments: tuple[int | float, ...]) -> None:
    with torch.cuda.device(device):
        index = torch.cuda.current_device()
        _kernel(index).launch((num_blocks, 1), current_stream(index), arguments)


@functools.cache
def _kernel(index: int) -> Kernel:
    options = {"THREADS": THREADS, "MAX_PARAMETERS": MAX_PARAMETERS}
    code = compiler.machine_code(SOURCE, torch.cuda.get_device_capability(index), options)
    return Kernel(Library(code, index), "adam_step", LAYOUT, THREADS)
