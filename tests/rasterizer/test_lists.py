"""How long the tiles' lists are, and when they grow; on a device that is not there."""

import re

import pytest

from diff_gaussian_rasterization import cuda
from diff_gaussian_rasterization.cuda import device, plan
from tests.rasterizer.scenes import camera, splats
from tests.rasterizer.sources import structs_of


@pytest.mark.parametrize("num", [10_000, 18_000, 50_000, 100_000])
@pytest.mark.parametrize(("size", "megabytes"), [(512, 25.2), (1024, 100.7)])
def test_first_lists_hold_a_head_and_take_this_much_memory(kernels, num, size, megabytes):
    drawn, view = splats(1, bases=1), camera(size, size)
    drawn = drawn._replace(means=drawn.means.expand(num, 3))
    first = plan.plan_of(drawn, view)
    assert first.capacity == 2048
    assert first.size - first._lists_at == pytest.approx(megabytes * 1e6, rel=0.01)


def test_first_lists_are_short_where_long_ones_would_take_too_much_memory(kernels):
    assert cuda.device_of(0).capacity(50_000, 8192, 1) == 2048
    assert cuda.device_of(0).capacity(50_000, 16384, 1) == 512


def test_lists_grow_once_silently_and_say_so_in_debug(kernels, monkeypatch, capsys):
    it = cuda.device_of(0)

    def overflows(count: int) -> int:
        it._overflow.value = count
        return it.capacity(100_000, 1024, 1)

    assert overflows(2100) == 4096
    # A captured graph keeps its short lists and reports the same again.
    assert overflows(2100) == overflows(2050) == 4096
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("DIFF_GAUSSIAN_RASTERIZATION_DEBUG", "1")
    assert overflows(2100) == 4096 and capsys.readouterr().err == ""
    assert overflows(5000) == 8192
    assert "a tile had 5000 splats" in capsys.readouterr().err


def test_lists_that_have_overflowed_are_short_until_they_grow(kernels):
    it = cuda.device_of(0)
    assert not it.wants_longer_lists
    it._overflow.value = 5000
    assert it.wants_longer_lists
    assert it.capacity(100_000, 1024, 1) == 8192 and not it.wants_longer_lists
    # A captured graph keeps its short lists and reports the same again.
    it._overflow.value = 5000
    assert not it.wants_longer_lists


def test_longer_lists_are_another_plan(kernels):
    drawn, view = splats(5000), camera(640, 480)
    before = plan.plan_of(drawn, view)
    assert plan.plan_of(drawn, view) is before
    before.device._overflow.value = 3000
    assert plan.plan_of(drawn, view).capacity > before.capacity


def test_patch_bytes_is_the_size_of_a_warps_stage():
    body = structs_of("blend.cu")["Stage"]
    vectors, words = (int(a) * int(b or 1) for a, b in re.findall(r"\[(\d+)(?: \* (\d+))?\]", body))
    assert 16 * vectors + 4 * words == device.PATCH_BYTES


@pytest.mark.parametrize("num", [0, 1, 300, 10_000, 1_000_000])
@pytest.mark.parametrize("num_tiles", [1, 64, 1024, 16384])
def test_capacity_is_a_power_of_two_that_sorting_can_use(kernels, num, num_tiles):
    it = cuda.device_of(0)
    capacity = it.capacity(num, num_tiles, 2)
    assert capacity & (capacity - 1) == 0
    # A bucket for each thread: tile_list.cuh.
    assert capacity >= device.TILE**2
    assert (
        it.sort_bytes(min(capacity, device.LONGEST_SORT)) <= kernels["blend_forward"].most_shared <= 64 * 1024
    )
