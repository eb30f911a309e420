"""Time what a call of the CUDA back-end costs the host, with the GPU's driver stubbed: no GPU is needed.

At 10,000 Gaussians the kernels are faster than Python, PyTorch and ctypes around them. Here all of that runs
on CPU tensors, but a launch is a C function that returns at once, and nothing is drawn. What a GPU adds on
the host: the driver's own part of four launches and a fill, PyTorch's CUDA allocator, and, by default, the
way to autograd's thread and back. Prints the fastest and the median of blocks of 100 calls, in microseconds
of this thread.

usage: rasterizer_host.py [--blocks 100]
"""

import argparse
import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
# Calls in a block.
CALLS = 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=100, help="of timed calls (default: 100)")
    blocks = parser.parse_args().blocks
    sys.path[:0] = [str(ROOT / "submodules" / "diff-gaussian-rasterization")]
    import torch

    torch.set_num_threads(1)
    stub_the_driver()
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}: us, fastest (median)")
    forward, step = calls()

    def forward_without_gradients() -> None:
        with torch.no_grad():
            forward()

    for name, call in {
        "forward, no gradients": forward_without_gradients,
        "forward": forward,
        "forward + backward, six leaves": step,
    }.items():
        # The first are among the slowest.
        times = sorted(block(call) for _ in range(blocks + 5))[:blocks]
        print(f"{name:>32} {times[0]:6.1f} ({times[blocks // 2]:.1f})", flush=True)


def block(call: Callable[[], object]) -> float:
    """Return the mean microseconds of this thread in so many calls."""
    start = time.thread_time_ns()
    for _ in range(CALLS):
        call()
    return (time.thread_time_ns() - start) / CALLS / 1000


def stub_the_driver() -> None:
    """Let the CUDA back-end take the tensors of the CPU, device -1, for a GPU's."""
    import torch

    from diff_gaussian_rasterization.cuda import device, driver, plan

    def function(*argument_types):
        """A C function of any arguments that returns 0: pthread_equal of what is not equal."""
        it = ctypes.CDLL(None).pthread_equal
        if argument_types:
            it.argtypes = argument_types
        return it

    def nothing(*_):
        return 0

    library = SimpleNamespace(
        cuLaunchKernelEx=function(),
        cuMemsetD32Async=function(ctypes.c_uint64, ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p),
        cuModuleLoadData=nothing,
        cuModuleGetFunction=nothing,
        cuFuncSetAttribute=nothing,
    )
    driver.driver = lambda: library
    driver.bind_context = nothing
    plan.current_stream = nothing
    torch._C._cuda_getDevice = lambda: -1
    torch.cuda.get_device_capability = lambda index: (9, 0)
    torch.cuda.get_device_properties = lambda index: SimpleNamespace(total_memory=2**36)
    torch.Tensor.pin_memory = lambda tensor: tensor
    device.Device.load = lambda self, source, options: driver.Library(b"", self.index)
    device._devices[-1] = device.Device(-1)


def calls() -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a drawing of a few Gaussians (the host does not care how many), and one with its gradients."""
    import torch

    from diff_gaussian_rasterization import Splats, View, api, cuda

    num, size = 100, 64
    shapes = {"means": (num, 3), "opacities": (num, 1), "scales": (num, 3), "rotations": (num, 4)}
    leaves = {
        name: torch.rand(shape).requires_grad_() for name, shape in {**shapes, "sh": (num, 16, 3)}.items()
    }
    means2d = torch.zeros(num, 2, requires_grad=True)
    view = View(torch.eye(4), torch.tensor([100.0, 100.0, 32.0, 32.0]), size, size)
    background, weights = torch.ones(3), torch.rand(3, size, size)
    splats = Splats(**leaves)

    def forward():
        return cuda.rasterize(*api.check_inputs(splats, view, background, means2d))

    def step() -> None:
        for leaf in (*leaves.values(), means2d):
            leaf.grad = None
        forward().image.backward(weights)

    return forward, step


if __name__ == "__main__":
    main()
