"""Fixtures of the rasterizer's tests: the formulas of the kernels on the host, and kernels without a GPU."""

import ctypes
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from diff_gaussian_rasterization import cuda
from diff_gaussian_rasterization.cuda import device, plan, ssim
from tests.rasterizer.host_formulas import FormulasFor
from tests.rasterizer.host_kernels import HostKernel, HostLibraries
from tests.rasterizer.sources import FakeKernel


@pytest.fixture(scope="session")
def formulas(tmp_path_factory) -> FormulasFor:
    """Compile the shim for so many SH bases, scales or covariances, float or double; each only once."""
    return FormulasFor(tmp_path_factory.mktemp("formulas"))


@pytest.fixture(scope="session")
def host_libraries(tmp_path_factory) -> HostLibraries:
    """The kernels' sources, compiled for the host; each only once."""
    return HostLibraries(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def no_gpu(monkeypatch) -> None:
    """The CUDA back-end's host side takes tensors of the CPU; kernels are for the test to bring."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    memory = SimpleNamespace(total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: memory)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    for module in (cuda, plan, ssim):
        monkeypatch.setattr(module, "current_stream", lambda index: 7)
    # Where CPU tensors are.
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: -1, raising=False)


@pytest.fixture
def kernels(no_gpu, monkeypatch) -> dict[str, FakeKernel]:
    """All kernels, by name, on a device that is not there."""
    made = {}
    monkeypatch.setattr(FakeKernel, "made", made, raising=False)
    for module in (device, ssim):
        monkeypatch.setattr(module, "Kernel", FakeKernel)
    monkeypatch.setattr(device.Device, "load", lambda self, source, options: source)
    monkeypatch.setattr(ssim, "Library", lambda code, index: code)
    monkeypatch.setattr(ssim.compiler, "machine_code", lambda source, *_: source)
    it = device.Device(-1)
    it.project(device.ProjectionKind(16))
    it.blend(False)
    assert it.family_intrinsics
    ssim._kernels.__wrapped__(-1)
    for module in (cuda, plan):
        monkeypatch.setattr(module, "device_of", lambda index: it)
    monkeypatch.setattr(plan, "clear", lambda *_: None)
    return made


@pytest.fixture
def host_device(no_gpu, monkeypatch, host_libraries) -> device.Device:
    """A device whose kernels run on the host, for the whole back-end."""
    for module in (device, ssim):
        monkeypatch.setattr(module, "Kernel", HostKernel)
    monkeypatch.setattr(device.Device, "load", lambda self, *source: host_libraries.load(*source))
    monkeypatch.setattr(ssim.compiler, "machine_code", lambda source, _, options: (source, options))
    monkeypatch.setattr(ssim, "Library", lambda code, index: host_libraries.load(*code))
    monkeypatch.setattr(ssim, "_kernels", ssim._kernels.__wrapped__)
    it = device.Device(-1)
    for module in (cuda, plan):
        monkeypatch.setattr(module, "device_of", lambda index: it)
    monkeypatch.setattr(plan, "clear", lambda start, num, *_: ctypes.memset(start, 0, 4 * num))
    return it
