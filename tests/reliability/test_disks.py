"""Training on a disk that really is full, and into a folder that really must not be written to.

A tmpfs of 2 MB, and the run's folder mounted over itself, read-only: chmod will not do, it does not hold for
root. Skipped by name where nothing may be mounted.
"""

import errno
import os
import subprocess

import pytest

from tests.reliability import tiny
from tests.reliability.test_saving import at_iteration
from tests.synthetic import write_clip

pytestmark = pytest.mark.reliability


class FullDisk:
    """Not a byte is free; then there is room again."""

    error = errno.ENOSPC

    def __init__(self, disk) -> None:
        self.ballast = disk / "ballast"

    def refuse(self) -> None:
        with self.ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(1 << 12))

    def allow(self) -> None:
        self.ballast.unlink()


class ReadOnlyFolder:
    """Files that are open stay so; nothing else can be written."""

    error = errno.EROFS

    def __init__(self, disk) -> None:
        self.folder = disk / "run"

    def refuse(self) -> None:
        for arguments in (("--bind", self.folder), ("-o", "remount,bind,ro")):
            done = mount(*arguments, self.folder)
            assert done.returncode == 0, done.stderr
        with pytest.raises(OSError, match="Read-only file system"):
            (self.folder / "probe").touch()

    def allow(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)


def mount(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def disk(tmp_path):
    """An empty file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", folder)
    except FileNotFoundError:
        pytest.skip("a small file system cannot be mounted here: there is no mount")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--recursive", str(folder)], check=True)


@pytest.fixture(params=[FullDisk, ReadOnlyFolder])
def trouble(request, disk):
    return request.param(disk)


def test_a_disk_that_refuses_for_a_while_costs_a_line(disk, trouble, tmp_path, monkeypatch, capsys):
    clip, whole, model = write_clip(tmp_path / "clip", num_frames=12), tmp_path / "whole", disk / "run"
    assert tiny.run(clip, whole) == 0
    at_iteration(monkeypatch, 8, trouble.refuse)
    at_iteration(monkeypatch, 14, trouble.allow)
    assert tiny.run(clip, model) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "iteration_12" in line]
    assert os.strerror(trouble.error) in said[-1] and "training goes on" in said[-1]
    assert tiny.checkpoints(model) == [6, 18, 24]
    assert tiny.damaged_files(model) == [] and tiny.leftovers(model) == []
    assert tiny.same_model(whole, model)
    print(f"\n{type(trouble).__name__}: the save of iteration 12 was lost, said in {len(said)} line(s)")


def test_a_disk_that_refuses_to_the_end_costs_no_checkpoint(disk, trouble, tmp_path, monkeypatch, capsys):
    clip, model = write_clip(tmp_path / "clip", num_frames=12), disk / "run"
    at_iteration(monkeypatch, 8, trouble.refuse)
    assert tiny.run(clip, model) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ") and os.strerror(trouble.error) in said[-1]
    assert tiny.checkpoints(model) == [6] and tiny.damaged_files(model) == []
    monkeypatch.undo()
    trouble.allow()
    assert tiny.exit_code(["-m", str(model), "--resume"]) == 0
    assert tiny.checkpoints(model)[-1] == 24
    assert tiny.damaged_files(model) == [] and tiny.leftovers(model) == []
    print(f"\n{type(trouble).__name__}: ended with exit code 2, went on from iteration 6")
