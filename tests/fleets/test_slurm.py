"""Rows as jobs: with submitit's own local executor, whose jobs are processes here; no SLURM is asked."""

import contextlib
import json
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest

import fleet
from fleets.rows import read_rows
from fleets.slurm import SlurmEngine
from fleets.stages import plans_of
from tests.fleets.stand_in import calls, state, write_scripts, write_table

STAGES = ("train", "render", "score", "export")


@pytest.fixture
def plans(tmp_path):
    """Makes plans of a table, with stand-ins."""
    scripts = write_scripts(tmp_path / "scripts")

    def make(text):
        return plans_of(read_rows(write_table(tmp_path / "people.csv", text)), tmp_path / "out", scripts)

    return make


@pytest.fixture
def engine_of(tmp_path, monkeypatch):
    """Makes an engine on submitit's local executor."""
    import submitit

    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))

    def make(plans, seconds=300, delay=30):
        executor = submitit.LocalExecutor(tmp_path / "out" / "slurm", max_num_timeout=10)
        executor.update_parameters(timeout_min=seconds / 60, signal_delay_s=delay)
        return SlurmEngine(plans, executor, submitit.LocalJob, "cpu", tmp_path / "out")

    return make


def finish(engine, seconds=60.0):
    end = time.monotonic() + seconds
    while engine.is_running():
        assert time.monotonic() < end, "the jobs don't end"
        time.sleep(0.1)


@pytest.mark.submitit
def test_every_row_is_a_job_and_a_failed_one_stops_nobody(plans, engine_of, tmp_path):
    rows = plans("name,source,seed\nbad,DATA,13\ngood,DATA,1\n")
    engine = engine_of(rows)
    engine.start()
    assert len(set(json.loads((tmp_path / "out/slurm/jobs.json").read_text()).values())) == 2
    finish(engine)
    assert state(tmp_path / "out", "good") == dict.fromkeys(STAGES, "done")
    assert state(tmp_path / "out", "bad") == {"train": "failed"}
    document = json.loads((tmp_path / "out/people/bad/state.json").read_text())
    assert document["stages"]["train"]["line"] == "train.py ended with 1: error: an unlucky number"


@pytest.mark.submitit
def test_a_job_out_of_time_is_queued_again_and_goes_on(plans, engine_of, tmp_path):
    rows = plans("name,source,seed\nslow,DATA,7\n")
    engine = engine_of(rows, seconds=6, delay=2)
    engine.start()
    checkpoint = rows[0].run / "checkpoints" / "iteration_5.safetensors"
    while not checkpoint.exists() or not checkpoint.read_text():
        assert engine.is_running()
    # SLURM's signal reaches the scripts, too.
    os.kill(int(checkpoint.read_text()), signal.SIGUSR2)
    finish(engine)
    # Without the signal and --resume it would have waited for ever.
    scripts = [call.split()[0] for call in calls(tmp_path)]
    assert scripts == ["train.py", "train.py", "render.py", "metrics.py", "export.py"]
    assert "--seed 7" in calls(tmp_path)[0] and "--resume" in calls(tmp_path)[1]
    assert state(tmp_path / "out", "slow") == dict.fromkeys(STAGES, "done")
    (log,) = (tmp_path / "out" / "slurm").glob("*_log.out")
    assert "Calling checkpoint method" in log.read_text()


class FakeJob(SimpleNamespace):
    """A job of a cluster that we don't have."""

    def done(self):
        return self.state != "RUNNING"


class FakeExecutor:
    def __init__(self, state):
        self.state, self.submitted = state, []

    def batch(self):
        return contextlib.nullcontext()

    def submit(self, job):
        self.submitted.append(job)
        paths = SimpleNamespace(stderr="0_log.err")
        return FakeJob(job_id=f"12_{len(self.submitted)}", state=self.state, paths=paths)


def test_a_job_that_ended_without_its_row_is_a_failure_with_its_state(plans, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    engine = SlurmEngine(
        plans("name,source\na,DATA\n"), FakeExecutor("OUT_OF_MEMORY"), None, "cpu", tmp_path / "out"
    )
    engine.start()
    assert not engine.is_running()
    document = json.loads((tmp_path / "out/people/a/state.json").read_text())
    assert document["stages"]["train"]["line"] == "job 12_1 ended as OUT_OF_MEMORY; its log is 0_log.err"


def test_started_again_it_watches_jobs_that_are_not_over(plans, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    rows = plans("name,source\na,DATA\nb,DATA\n")
    states = {"12_1": "RUNNING", "12_2": "TIMEOUT"}

    def job_of(folder, number):
        return FakeJob(job_id=number, state=states[number])

    first = SlurmEngine(rows, FakeExecutor("RUNNING"), job_of, "cpu", tmp_path / "out")
    first.start()
    first.stop()
    assert not first.is_running()
    executor = FakeExecutor("RUNNING")
    again = SlurmEngine(rows, executor, job_of, "cpu", tmp_path / "out")
    again.start()
    assert [job._plan.name for job in executor.submitted] == ["b"]
    assert again.is_running()


def test_without_submitit_it_is_one_line(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "submitit", None)
    table = write_table(tmp_path / "people.csv", "name,source\na,DATA\n")
    with pytest.raises(SystemExit) as stop:
        fleet.main([str(table), "-o", str(tmp_path / "out"), "--engine", "slurm"])
    assert stop.value.code == 2
    assert capfd.readouterr().err == (
        "error: --engine slurm: needs submitit; pip install -r requirements-extras.txt\n"
    )


@pytest.mark.submitit
def test_without_slurm_and_with_a_wrong_parameter_it_is_one_line(tmp_path, monkeypatch, capfd):
    from submitit import SlurmExecutor

    table = write_table(tmp_path / "people.csv", "name,source\na,DATA\n")
    arguments = [str(table), "-o", str(tmp_path / "out"), "--engine", "slurm", "--slurm", "partitoin=gpu"]
    for has_slurm, words in ((-1, "srun"), (2, "partitoin")):
        monkeypatch.setattr(SlurmExecutor, "affinity", lambda *_, value=has_slurm: value)
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as stop:
            fleet.main(arguments)
        assert stop.value.code == 2 and signal.getsignal(signal.SIGINT) is before
        errors = capfd.readouterr().err
        assert words in errors and errors.count("\n") == 1
