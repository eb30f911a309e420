"""The kernel of Adam, compiled for the host, against the operations; and that a flag lets it skip a step."""

import ctypes
import struct
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from scene.adam import BETAS, Adam, Group, fresh_moments
from scene.fused import adam as kernel

HOST = Path(__file__).with_name("host.cpp")
EPS = 1e-15
SHAPES = {"plain": (101, 3), "aligned": (64, 8), "scalars": (5,), "tau": (33, 4, 4)}


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """What the host does for a launch of the kernel: one block after the other."""
    folder = tmp_path_factory.mktemp("adam")
    call = 'extern "C" void call(const void *packed) { adam_step(*(AdamStep const *)packed); }'
    (folder / "adam.cpp").write_text(f'#define KERNELS "{kernel.SOURCE}"\n#include "{HOST}"\n{call}\n')
    sizes = [f"-DTHREADS={kernel.THREADS}", f"-DMAX_PARAMETERS={kernel.MAX_PARAMETERS}"]
    command = [
        "c++",
        "-std=c++17",
        "-O1",
        "-shared",
        "-fPIC",
        *sizes,
        folder / "adam.cpp",
        "-o",
        folder / "adam.so",
    ]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(folder / "adam.so"))

    def launched(num_blocks: int, arguments: tuple) -> None:
        packed = struct.pack(kernel.LAYOUT, *arguments)
        for block in range(num_blocks):
            library.start_block(block, num_blocks)
            library.call(packed)

    return launched


def groups_of(parameters):
    rates = {
        "plain": (1e-2, 0.1),
        "aligned": (torch.tensor(1e-3), 0.0),
        "scalars": (1e-2, 0.0),
        "tau": (1e-3, 0.0),
    }
    return [Group(n, [p], *rates[n], on_sphere=n == "tau") for n, p in parameters.items()]


def test_on_the_host_it_moves_parameters_as_the_operations_do_and_skips_where_the_flag_says(launch):
    generator = torch.Generator().manual_seed(1)
    starts = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    starts["tau"] = nn.functional.normalize(starts["tau"], dim=-1)
    theirs, ours = ({n: nn.Parameter(s.clone()) for n, s in starts.items()} for _ in range(2))
    adam, groups = Adam(groups_of(theirs), EPS), groups_of(ours)
    moments = {name: fresh_moments(parameter) for name, parameter in ours.items()}
    for skip in (0, 0, 1, 0):
        before = {name: parameter.detach().clone() for name, parameter in ours.items()}
        for name in SHAPES:
            grad = torch.randn(SHAPES[name], generator=generator)
            theirs[name].grad, ours[name].grad = grad.clone(), grad.clone() + (float("nan") if skip else 0)
            moments[name].step.add_(1 - skip)
        adam.step(skip=torch.tensor(bool(skip)))
        moved = [(group, ours[group.name], moments[group.name]) for group in groups]
        kernel.adam_step(moved, BETAS, EPS, torch.tensor(float(skip)), launcher=launch)
        for name in SHAPES:
            assert torch.equal(ours[name], before[name]) == bool(skip)
            torch.testing.assert_close(ours[name].detach(), theirs[name].detach(), rtol=1e-5, atol=1e-6)
            assert adam.moments[theirs[name]].step == moments[name].step
