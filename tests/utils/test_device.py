"""Which device computes, and whether it has room; GPUs are played."""

import pytest
import torch

from utils.device import MINIMUM_FREE_GPU_BYTES, check_free_memory, choose_device, describe
from utils.errors import UserError


@pytest.fixture
def gpus(monkeypatch):
    """A machine with so many GPUs, each with so many free bytes."""

    def play(num: int, free: int = 0) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: num > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: num)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 * 2**30))

    return play


def test_auto_is_the_gpu_where_there_is_one(gpus):
    gpus(0)
    assert choose_device("auto") == torch.device("cpu")
    gpus(1)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_refused_by_name(gpus):
    gpus(0)
    with pytest.raises(UserError, match=r"--device cuda: .* sees no usable CUDA GPU"):
        choose_device("cuda")
    gpus(2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="--device cuda:2: there are 2 CUDA GPUs, counted from 0"):
        choose_device("cuda:2")


def test_too_little_gpu_memory_is_refused_with_numbers_and_the_way_out(gpus):
    gpus(1, free=MINIMUM_FREE_GPU_BYTES)
    check_free_memory(torch.device("cuda"))
    with pytest.raises(
        UserError, match=r"2\.0 of 80\.0 GB are free, training needs about 3\.0 GB.*smaller -r"
    ):
        check_free_memory(torch.device("cuda"), image_bytes=2**30)
    check_free_memory(torch.device("cpu"), image_bytes=2**60)


def test_a_device_is_described_with_the_version_of_torch():
    assert (
        describe(torch.device("cpu")) == f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
