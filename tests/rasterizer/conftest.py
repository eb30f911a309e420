"""Fixtures of the rasterizer's tests: the formulas of the kernels on the host, and kernels without a GPU."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from diff_gaussian_rasterization import cuda
from diff_gaussian_rasterization.cuda import device, plan, ssim
from tests.rasterizer.host_formulas import FormulasFor
from tests.rasterizer.sources import FakeKernel


@pytest.fixture(scope="session")
def formulas(tmp_path_factory) -> FormulasFor:
    """Compile the shim for so many SH bases, scales or covariances, float or double; each only once."""
    return FormulasFor(tmp_path_factory.mktemp("formulas"))


@pytest.fixture
def kernels(monkeypatch) -> dict[str, FakeKernel]:
    """All kernels, by name, on a device that is not there."""
    made = {}
    monkeypatch.setattr(FakeKernel, "made", made, raising=False)
    for module in (device, ssim):
        monkeypatch.setattr(module, "Kernel", FakeKernel)
    monkeypatch.setattr(device.Device, "load", lambda self, source, options: source)
    monkeypatch.setattr(ssim, "Library", lambda code, index: code)
    monkeypatch.setattr(ssim.compiler, "machine_code", lambda source, *_: source)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    memory = SimpleNamespace(total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: memory)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    it = device.Device(-1)
    it.project(device.ProjectionKind(16))
    it.blend(False)
    assert it.family_intrinsics
    ssim._kernels.__wrapped__(-1)
    for module in (cuda, plan):
        monkeypatch.setattr(module, "device_of", lambda index: it)
        monkeypatch.setattr(module, "current_stream", lambda index: 7)
    monkeypatch.setattr(plan, "clear", lambda *_: None)
    # Where CPU tensors are.
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: -1, raising=False)
    return made
