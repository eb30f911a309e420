"""The kernels of published heads against the operations: on the host, and on a GPU."""

import re

import pytest
import torch

from diff_gaussian_rasterization.cuda import compiler
from scene import published_kernels
from scene.cameras import Camera
from scene.published_checkpoint import read_head
from scene.published_head import PublishedHead
from scene.published_kernels import KERNELS, LARGE, SMALL, options_of, rows_for
from scene.views import Drive
from tests.scene.fused.warps import HostKernels
from tests.scene.published import write_checkpoint

PARTS = ("means", "opacities", "cov3d", "sh")
# Where the inner layers have 11 bits; the test's planes are steep.
ROUNDED = {"means": 5e-5, "opacities": 1e-3, "cov3d": 5e-5, "sh": 2e-2}
# Where all factors are of two halves.
PRECISE = {"means": 1e-6, "opacities": 1e-5, "cov3d": 1e-6, "sh": 2e-4}


def make_head(folder, num=70, deforms=True):
    iteration = 4_000 if deforms else 3_000
    write_checkpoint(folder, num=num, iteration=iteration)
    return read_head(folder, iteration)


def some_views(num, device="cpu"):
    """Cameras and expressions."""
    generator = torch.Generator().manual_seed(1)
    pose = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0.1], [0, 0, -1, 2], [0, 0, 0, 1]])
    cameras = [
        Camera(pose + 0.01 * i, 60.0, 60.0, 16.0, 12.0, 32, 24).to(torch.device(device)) for i in range(num)
    ]
    return cameras, [torch.randn(3, generator=generator).to(device) for _ in range(num)]


def by_operations(head, cameras, expressions):
    head.uses_kernels = False
    try:
        return head.views(cameras, [Drive(expression) for expression in expressions])
    finally:
        head.uses_kernels = True


def check(found, expected, largest):
    assert found.scales is None and found.rotations is None
    for name in PARTS:
        value, other = getattr(found, name), getattr(expected, name)
        assert value.shape == other.shape, name
        difference = float((value - other).abs().max())
        assert difference <= largest[name], f"{name}: {difference:.1e}"


@pytest.mark.parametrize(
    "first_precise, rows, largest", [(6, LARGE, ROUNDED), (6, SMALL, ROUNDED), (1, SMALL, PRECISE)]
)
def test_on_the_host_they_compute_what_the_operations_do(tmp_path, monkeypatch, first_precise, rows, largest):
    monkeypatch.setattr(published_kernels, "FIRST_PRECISE", first_precise)
    kernels = HostKernels(tmp_path, rows)
    head = make_head(tmp_path)
    cameras, expressions = some_views(2)
    found = published_kernels.splats_by(kernels, head, cameras, expressions)
    check(found, by_operations(head, cameras, expressions), largest)
    assert not torch.equal(found.means[0], found.means[1])


def test_on_the_host_a_head_without_deformation_stays_where_it_is(tmp_path):
    kernels = HostKernels(tmp_path, SMALL)
    head = make_head(tmp_path, deforms=False)
    cameras, expressions = some_views(2)
    found = published_kernels.splats_by(kernels, head, cameras, expressions)
    check(found, by_operations(head, cameras, expressions), PRECISE)
    assert torch.equal(found.means, head.xyz.expand(2, -1, -1))


@pytest.mark.gpu
@pytest.mark.parametrize("num", [1, 70, 1_000])
def test_on_a_gpu_they_compute_what_the_operations_do(tmp_path, num):
    device = torch.device("cuda")
    head = make_head(tmp_path, num).to(device)
    cameras, expressions = some_views(3, device)
    assert published_kernels.applies(head, cameras, expressions)
    expected = by_operations(head, cameras, expressions)
    drives = [Drive(expression) for expression in expressions]
    check(head.views(cameras, drives), expected, ROUNDED)
    one = head(cameras[1], drives[1])
    for name in PARTS:
        other = getattr(head.views(cameras, drives), name)[1]
        torch.testing.assert_close(getattr(one, name), other, rtol=1e-3, atol=1e-3)
    shift = head.deformed(expressions[1])[0] - one.means
    assert float(shift.abs().max()) < 1e-6


@pytest.mark.gpu
def test_on_a_gpu_a_head_without_deformation_stays_where_it_is(tmp_path):
    head = make_head(tmp_path, deforms=False).to(torch.device("cuda"))
    cameras, expressions = some_views(2, "cuda")
    found = head.views(cameras, [Drive(expression) for expression in expressions])
    check(found, by_operations(head, cameras, expressions), PRECISE)


@pytest.mark.gpu
def test_where_a_gradient_is_wanted_the_operations_do_it(tmp_path):
    head = make_head(tmp_path).to(torch.device("cuda"))
    (camera,), (expression,) = some_views(1, "cuda")
    expression.requires_grad_()
    head(camera, Drive(expression)).sh.sum().backward()
    assert expression.grad.abs().sum() > 0


def test_weights_beyond_halves_are_left_to_the_operations(tmp_path):
    head = make_head(tmp_path)
    assert head.uses_kernels
    tensors = {name: tensor.clone() for name, tensor in head.tensors().items()}
    tensors["decoder.1"][3, 4] = 7e4
    assert not PublishedHead(tensors, deforms=True).uses_kernels


@pytest.mark.skipif(not compiler.is_installed(), reason="needs cuda-core and NVRTC")
@pytest.mark.parametrize("capability, rows", [((8, 0), LARGE), ((8, 6), SMALL), ((9, 0), SMALL)])
def test_nvrtc_compiles_the_kernels_without_spilling(capability, rows):
    for name, options in options_of(rows).items():
        code, report = compiler.compile_source(KERNELS / f"{name}.cu", capability, options)
        spilled = re.findall(r"(\d+) bytes spill stores", report)
        assert code and spilled and set(spilled) == {"0"}, (name, report)


@pytest.mark.parametrize(
    "of_block, of_processor, rows",
    [(232_448, 233_472, SMALL), (166_912, 167_936, LARGE), (101_376, 102_400, SMALL)],
    ids=["9.0", "8.0", "8.6"],
)
def test_blocks_are_as_large_as_shared_memory_makes_sensible(of_block, of_processor, rows):
    assert rows_for(of_block, of_processor) == rows
