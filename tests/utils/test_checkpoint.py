import json
import os
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

from utils import checkpoint, files
from utils.checkpoint import (
    find_iteration,
    iteration_path,
    list_iterations,
    load_checkpoint,
    load_metadata,
    save_checkpoint,
)
from utils.errors import UserError


def _tensors():
    shared = torch.arange(6.0).view(2, 3)
    return {
        "weights": torch.randn(4, 5),
        "transposed": torch.randn(3, 2).T,
        "first_alias": shared,
        "second_alias": shared[0],
        "rng": torch.get_rng_state(),
        "step": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        "half": torch.randn(3).bfloat16(),
        "double": torch.randn(2, dtype=torch.float64),
        "flags": torch.tensor([True, False]),
    }


def test_tensors_and_metadata_come_back_exactly(tmp_path):
    tensors = _tensors()
    metadata = {"iteration": 7, "rate": 0.1 + 0.2, "names": ["jawOpen", "ü"], "nested": {"none": None}}
    save_checkpoint(tmp_path / "deep" / "file.safetensors", tensors, metadata)
    loaded = load_checkpoint(tmp_path / "deep" / "file.safetensors")
    assert loaded.metadata == metadata == load_metadata(tmp_path / "deep" / "file.safetensors")
    assert loaded.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor), name


def test_file_is_plain_safetensors_with_the_users_permissions(tmp_path):
    path = tmp_path / "file.safetensors"
    save_checkpoint(path, {"a": torch.ones(2)}, {})
    assert torch.equal(load_file(path)["a"], torch.ones(2))
    (tmp_path / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


@pytest.mark.parametrize("module, failing", [(checkpoint, "write_pieces"), (files, "flush")])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch, module, failing):
    path = tmp_path / "file.safetensors"
    save_checkpoint(path, {"a": torch.ones(2)}, {"iteration": 1})
    before = path.read_bytes()

    def disk_full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, failing, disk_full)
    with pytest.raises(UserError, match=r"file\.safetensors: cannot be written: .*No space left"):
        save_checkpoint(path, {"a": torch.zeros(2)}, {"iteration": 2})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["file.safetensors"]


def test_metadata_that_is_no_json_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path / "file.safetensors", {}, {"path": tmp_path})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kept", [0, 4, 40, -1])
def test_a_truncated_file_is_named(tmp_path, kept):
    path = tmp_path / "file.safetensors"
    save_checkpoint(path, {"a": torch.ones(100)}, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"file\.safetensors: damaged"):
        load_checkpoint(path)


def test_a_missing_file_and_a_foreign_one_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.safetensors: no such file"):
        load_checkpoint(tmp_path / "absent.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match=r"noise\.safetensors: damaged"):
        load_checkpoint(tmp_path / "noise.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match=r"foreign\.safetensors: .* not one that GaussianHead wrote"):
        load_checkpoint(tmp_path / "foreign.safetensors")


def test_an_unknown_format_version_is_refused(tmp_path):
    header = {"format": "gaussianhead", "format_version": "999", "metadata": json.dumps({})}
    save_file({"a": torch.ones(1)}, tmp_path / "new.safetensors", metadata=header)
    with pytest.raises(UserError, match="format version 999, this program reads 1"):
        load_metadata(tmp_path / "new.safetensors")


def test_iterations_are_listed_by_number_and_strangers_passed_over(tmp_path):
    for name in ("iteration_900", "iteration_1000", "iteration_20", "best", ".iteration_5"):
        (tmp_path / f"{name}.safetensors").touch()
    (tmp_path / ".iteration_7.safetensors.123.tmp").touch()
    assert list_iterations(tmp_path) == [20, 900, 1000]
    assert list_iterations(tmp_path / "absent") == []
    assert find_iteration(tmp_path) == find_iteration(tmp_path, -1) == iteration_path(tmp_path, 1000)
    assert find_iteration(tmp_path, 20).name == "iteration_20.safetensors"


def test_an_absent_iteration_tells_what_is_there(tmp_path):
    with pytest.raises(UserError, match=r"expected iteration_N\.safetensors, found none"):
        find_iteration(tmp_path)
    iteration_path(tmp_path, 20).touch()
    iteration_path(tmp_path, 100).touch()
    with pytest.raises(UserError, match=r"--iteration 50: .* holds 20, 100"):
        find_iteration(tmp_path, 50)


def test_no_bit_of_a_file_can_flip_unseen(tmp_path):
    path = tmp_path / "file.safetensors"
    # A name that JSON escapes: two spellings of it mean the same.
    save_checkpoint(path, {"a": torch.randn(3), "b": torch.arange(2)}, {"names": ["jawOpen", "é"]})
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(UserError):
            load_checkpoint(path)
    path.write_bytes(good)
    load_checkpoint(path)


def test_a_file_from_before_there_were_digests_loads(tmp_path):
    path = tmp_path / "file.safetensors"
    header = {"format": "gaussianhead", "format_version": "1", "metadata": '{"iteration": 3}'}
    save_file({"a": torch.ones(2)}, path, metadata=header)
    assert load_checkpoint(path).metadata == {"iteration": 3}
    save_file({"a": torch.ones(2)}, path, metadata=header | {"digesu": "0" * 64})
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("size", [0, 2**63, 2**64 - 1, 10**6])
def test_a_header_that_promises_more_than_the_file_has_is_not_read(tmp_path, size):
    path = tmp_path / "file.safetensors"
    path.write_bytes(size.to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


def test_a_file_too_large_for_memory_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "file.safetensors"
    save_checkpoint(path, {"a": torch.ones(2)}, {})
    # Sparse: a terabyte of nothing.
    os.truncate(path, 1 << 40)
    with pytest.raises(UserError, match="too large"):
        load_checkpoint(path)
