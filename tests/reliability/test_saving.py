"""No run is lost: signals, time, a disk that is full or must not be written to, two runs in one folder."""

import errno
import resource
import shutil
import signal
from types import SimpleNamespace

import pytest

from tests.reliability import tiny
from tests.synthetic import write_clip
from training import session as session_module
from training.session import Session
from utils import checkpoint, files
from utils.checkpoint import load_metadata
from utils.locks import FolderLock


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("data") / "clip", num_frames=12)


@pytest.fixture(scope="module")
def whole(clip, tmp_path_factory):
    """A run that nothing disturbed."""
    model = tmp_path_factory.mktemp("output") / "whole"
    assert tiny.run(clip, model) == 0
    return model


def at_iteration(monkeypatch, iteration, act):
    """Do something in the middle of an iteration of the next run."""
    report = Session.report

    def reported(self, *args):
        if self.state.iteration == iteration:
            act()
        report(self, *args)

    monkeypatch.setattr(Session, "report", reported)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_saved_by_the_code_of_shells(clip, whole, tmp_path, monkeypatch, number, code):
    before = signal.getsignal(number)
    at_iteration(monkeypatch, 7, lambda: signal.raise_signal(number))
    assert tiny.run(clip, tmp_path / "run") == code
    assert signal.getsignal(number) == before
    assert tiny.checkpoints(tmp_path / "run") == [6, 7]
    monkeypatch.undo()
    assert tiny.exit_code(["-m", str(tmp_path / "run"), "--resume"]) == 0
    assert tiny.same_model(whole, tmp_path / "run")


def test_time_saves_and_keeps_the_last_of_what_only_time_asked_for(clip, whole, tmp_path, monkeypatch):
    model, seen = tmp_path / "run", {}
    monkeypatch.setattr(session_module, "time", ticking(seconds=10))
    at_iteration(monkeypatch, 17, lambda: seen.update(there=tiny.checkpoints(model)))
    assert tiny.run(clip, model, "--save_minutes", "0.5") == 0
    # Those of 6 and 12 were asked for, those in between took each other's place.
    assert seen["there"] == [6, 12, 16]
    assert tiny.checkpoints(model) == [6, 12, 18, 24]
    assert tiny.same_model(whole, model)
    assert tiny.run(clip, model, "--overwrite", "--save_minutes", "0") == 0
    assert seen["there"] == [6, 12]


def ticking(seconds):
    """A clock that goes on by so much at every iteration."""
    clock = SimpleNamespace(now=0.0)

    def monotonic():
        clock.now += seconds
        return clock.now

    return SimpleNamespace(monotonic=monotonic, perf_counter=lambda: 0.0)


def refuse(number):
    def refused(*args, **kwargs):
        raise OSError(number, errno.errorcode[number])

    return refused


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_refuses_for_a_while_costs_a_line_and_nothing_else(
    clip, whole, tmp_path, monkeypatch, capsys, number
):
    model = tmp_path / "run"

    def refuses():
        monkeypatch.setattr(files, "write_pieces", refuse(number))
        monkeypatch.setattr(checkpoint, "write_pieces", refuse(number))

    at_iteration(monkeypatch, 8, refuses)
    at_iteration(monkeypatch, 14, monkeypatch.undo)
    assert tiny.run(clip, model) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "iteration 12" in line]
    assert "checkpoints/iteration_12.safetensors: cannot be written" in said[-1]
    assert "training goes on" in said[-1]
    assert tiny.checkpoints(model) == [6, 18, 24]
    assert tiny.damaged_files(model) == [] and tiny.leftovers(model) == []
    assert tiny.same_model(whole, model)


def test_files_limited_in_size_stop_no_training_and_harm_nothing(clip, tmp_path, monkeypatch, capsys):
    """A real refusal by the system, in the middle of a file."""
    model = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = 20_000
    at_iteration(monkeypatch, 8, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1])))
    try:
        code = tiny.run(clip, model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and said[-1].startswith("error: ") and "File too large" in said[-1]
    assert tiny.checkpoints(model) == [6]
    assert tiny.damaged_files(model) == [] and tiny.leftovers(model) == []
    monkeypatch.undo()
    assert tiny.exit_code(["-m", str(model), "--resume"]) == 0
    assert tiny.checkpoints(model)[-1] == 24


def test_a_second_run_is_refused_while_the_first_lives(clip, whole, tmp_path, monkeypatch, capsys):
    model = shutil.copytree(whole, tmp_path / "run")
    held = FolderLock()
    held.take(model)
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    assert tiny.exit_code(["-m", str(model), "--resume"]) == 2
    assert tiny.run(clip, model, "--overwrite") == 2
    assert capsys.readouterr().err.count("trains there") == 2
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    held.release()
    assert tiny.exit_code(["-m", str(model), "--resume"]) == 0


def test_what_a_killed_save_left_is_removed_at_the_next_start(whole, tmp_path):
    model = shutil.copytree(whole, tmp_path / "run")
    for folder in ("checkpoints", "model"):
        (model / folder / ".iteration_30.999.part.safetensors").write_bytes(b"half")
    assert len(tiny.leftovers(model)) == 2
    assert tiny.exit_code(["-m", str(model), "--resume"]) == 0
    assert tiny.leftovers(model) == []


def test_a_checkpoint_says_whether_the_next_one_takes_its_place(whole):
    stored = load_metadata(whole / "checkpoints" / "iteration_12.safetensors")
    assert stored["is_passing"] is False
