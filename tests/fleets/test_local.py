"""Which devices rows are handed to, and how they share the cores."""

import pytest
import torch

from fleets.local import find_devices, shared_cores
from utils import threads
from utils.errors import UserError


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_rows_go_to_all_gpus_before_two_share_one(two_gpus):
    assert find_devices("auto", 1) == ["cuda:0", "cuda:1"]
    assert find_devices("cuda", 2) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]


def test_a_device_that_is_named_is_the_only_one(two_gpus):
    assert find_devices("cuda:1", 2) == ["cuda:1", "cuda:1"]
    assert find_devices("cpu", 1) == ["cpu"]
    with pytest.raises(UserError, match="cuda:2"):
        find_devices("cuda:2", 1)


def test_rows_share_the_cores_where_nobody_said_otherwise(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 16)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert shared_cores(1) == {}
    shared = shared_cores(5)
    assert shared["NUMBA_NUM_THREADS"] == "3" and "OMP_NUM_THREADS" not in shared
    assert shared_cores(32)["NUMBA_NUM_THREADS"] == "1"
