"""fleet.py on a real Ray, which it starts on the loopback of this machine; with scripts that stand in."""

import _thread
import contextlib
import csv
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

import pytest

import fleet
from arguments.fleet import parse_fleet_args
from fleets.ray import LOCAL_RAY, RayEngine, gpu_share, ray_engine, work_on
from fleets.rows import read_rows
from fleets.stages import plans_of
from tests.fleets.stand_in import calls, start_in_background, state, wait_for, write_scripts, write_table
from utils.errors import UserError

STAGES = ("train", "render", "score", "export")


@pytest.fixture
def start(tmp_path):
    """Starts fleet.py on a Ray of its own, whose files are gone afterwards."""
    write_scripts(tmp_path / "scripts")
    # Sockets have short names.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    own = {"RAY_TMPDIR": str(folder), "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_ADDRESS": ""}
    processes = []

    def run(text, *more):
        processes.append(start_in_background(tmp_path, text, "--engine", "ray", *more, **own))
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)
    shutil.rmtree(folder)


def script_of(process, tmp_path, name):
    """The number of a row's train.py, once it has saved."""
    checkpoint = tmp_path / "out" / "people" / name / "run" / "checkpoints" / "iteration_5.safetensors"
    wait_for(lambda: process.poll() is not None or (checkpoint.is_file() and checkpoint.read_text()), 60)
    assert process.poll() is None, process.communicate()[1]
    return int(checkpoint.read_text())


def listening_addresses(number):
    """Where a process and those that it started wait for connections."""
    # The library brings psutil.
    import ray  # noqa: F401
    from psutil import CONN_LISTEN, NoSuchProcess, Process

    sockets = []
    for process in (Process(number), *Process(number).children(recursive=True)):
        # Scripts come and go.
        with contextlib.suppress(NoSuchProcess):
            sockets += process.net_connections("tcp")
    return {socket.laddr.ip.removeprefix("::ffff:") for socket in sockets if socket.status == CONN_LISTEN}


@pytest.mark.ray
def test_a_row_whose_worker_is_killed_goes_on_and_one_that_fails_stops_nobody(start, tmp_path):
    (tmp_path / "film.mp4").touch()
    # `slow` never ends by itself; only --resume makes it.
    text = f"name,source,seed\nslow,DATA,7\nbad,DATA,13\ngood,DATA,1\nfilm,{tmp_path / 'film.mp4'},2\n"
    process = start(text, "--cpus", "1", "--requeues", "1")
    script = script_of(process, tmp_path, "slow")
    assert listening_addresses(process.pid) == {"127.0.0.1"}
    # As a node dies: the worker and what it started, at once.
    worker = int(Path(f"/proc/{script}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(worker, signal.SIGKILL)
    os.kill(script, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    turns = [call for call in calls(tmp_path) if call.startswith("train.py") and "people/slow/" in call]
    assert ["--resume" in turn for turn in turns] == [False, True]
    out = tmp_path / "out"
    assert state(out, "slow") == state(out, "good") == dict.fromkeys(STAGES, "done")
    assert state(out, "film") == {"prepare": "done", **dict.fromkeys(STAGES, "done")}
    assert state(out, "bad") == {"train": "failed"}
    with (out / "fleet.csv").open(newline="") as file:
        lines = {row["name"]: row["line"] for row in csv.DictReader(file)}
    assert lines["bad"] == "train.py ended with 1: error: an unlucky number" and not lines["slow"]
    assert "4 rows: 3 done, 1 failed" in (out / "fleet.html").read_text()
    assert "[4/4]" in errors


@pytest.mark.ray
def test_ctrl_c_lets_scripts_save_begins_no_more_and_the_same_command_goes_on(start, tmp_path):
    # Of a container its share; os.cpu_count() has all of the machine.
    from ray._private.utils import get_num_cpus

    # One row at a time.
    process = start("name,source,seed\nslow,DATA,7\nnext,DATA,7\n", "--cpus", str(get_num_cpus()))
    script_of(process, tmp_path, "slow")
    # As a terminal does it: to fleet.py, and to all of Ray that is of its group.
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command goes on from here" in errors and "Traceback" not in errors
    assert len(calls(tmp_path)) == 1 and state(tmp_path / "out", "slow") == {"train": "running"}
    # Its script was asked to end before fleet.py did.
    assert (tmp_path / "ended.txt").read_text().split() == [str(int(signal.SIGTERM))]

    (tmp_path / "go").touch()
    arguments = [str(tmp_path / "people.csv"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert fleet.main(arguments, tmp_path / "scripts") == 0
    assert "slow/run --resume" in calls(tmp_path)[1]


def test_a_task_can_be_interrupted_where_signals_were_ignored_before(tmp_path):
    scripts = write_scripts(tmp_path / "scripts")
    table = write_table(tmp_path / "people.csv", "name,source,seed\nslow,DATA,7\n")
    (plan,) = plans_of(read_rows(table), tmp_path / "out", scripts)

    def interrupt():
        wait_for((plan.run / "checkpoints" / "iteration_5.safetensors").exists)
        # As Ray does it.
        _thread.interrupt_main()

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            work_on(plan, "cpu", None, 1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "ended.txt").read_text().split() == [str(int(signal.SIGTERM))]
    assert state(tmp_path / "out", "slow") == {"train": "running"}


class FakeTask:
    """Notes with which options and arguments a task is submitted; its value is the number of it."""

    def __init__(self):
        self.submitted = []

    def options(self, **options):
        return type("Bound", (), {"remote": lambda _, *words: self._submit(options, words)})()

    def _submit(self, options, words):
        self.submitted.append((options, words))
        return len(self.submitted)


class FakeRay:
    """A cluster of one node that ends all tasks with an error."""

    class exceptions:
        class RayError(Exception):
            pass

        class TaskCancelledError(RayError):
            pass

    def __init__(self, **resources):
        self.resources, self.task, self.usual, self.is_left = resources, FakeTask(), {}, False

    def remote(self, **usual):
        self.usual = usual
        return lambda function: self.task

    def init(self, **_):
        self.is_left = False

    def cluster_resources(self):
        return self.resources

    def nodes(self):
        return [{"Alive": True, "Resources": self.resources}]

    def wait(self, tasks, **_):
        return tasks, []

    def get(self, task):
        raise self.exceptions.RayError("The worker died.\nA page of advice.")

    def shutdown(self):
        self.is_left = True


def options_of(table, *more):
    return parse_fleet_args([str(table), "--engine", "ray", *more])


@pytest.fixture
def table(tmp_path):
    (tmp_path / "film.mp4").touch()
    return write_table(tmp_path / "people.csv", f"name,source\na,DATA\nb,{tmp_path / 'film.mp4'}\n")


def test_a_row_has_its_share_of_a_gpu_and_its_video_none(table, tmp_path, capfd):
    plans = plans_of(read_rows(table), tmp_path / "out")
    cluster = FakeRay(CPU=4.0, GPU=1.0)
    options = options_of(table, "--workers", "3", "--cpus", "4", "--requeues", "5")
    RayEngine(cluster, plans, options, "cuda").start()
    assert cluster.usual == {"num_cpus": 4, "max_retries": 5}
    asked = [(options["num_gpus"], *words[1:]) for options, words in cluster.task.submitted]
    # The last waits for the second.
    assert asked == [(0.3333, "cuda", None, 4), (0.0, "cpu", 1, 4), (0.3333, "cuda", None, 4, 2)]
    assert capfd.readouterr().err == ""


def test_as_many_rows_fit_on_a_gpu_as_shall_share_it():
    for num_rows in (1, 2, 3, 6, 7, 1000):
        # Ray counts ten thousandths.
        assert round(gpu_share(num_rows) * 10_000) * num_rows <= 10_000
        assert round(gpu_share(num_rows) * 10_000) * (num_rows + 1) > 10_000


def test_a_task_that_ended_without_its_row_is_a_failure_and_a_lack_of_nodes_is_said(table, tmp_path, capfd):
    plans = plans_of(read_rows(table), tmp_path / "out")
    cluster = FakeRay(CPU=4.0)
    engine = RayEngine(cluster, plans, options_of(table), "cuda")
    engine.start()
    assert capfd.readouterr().err == "no node of Ray has 2 cores and a GPU now; the rows wait for one\n"
    assert not engine.is_running() and cluster.is_left
    assert state(tmp_path / "out", "a") == {"train": "failed"}
    assert state(tmp_path / "out", "b") == {"prepare": "failed"}
    text = (tmp_path / "out/people/a/state.json").read_text()
    assert "its task ended with RayError: The worker died." in text and "advice" not in text


def test_more_cores_than_this_machine_has_are_refused(table, monkeypatch):
    """A Ray of this machine gets no other node: the rows would wait for ever."""
    cluster = FakeRay(CPU=4.0)
    monkeypatch.setitem(sys.modules, "ray", cluster)
    for name, value in LOCAL_RAY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="--cpus 5: this machine has 4 cores"):
        ray_engine([], options_of(table, "--cpus", "5", "--device", "cpu"))
    assert cluster.is_left
    ray_engine([], options_of(table, "--cpus", "4", "--device", "cpu"))
    assert not cluster.is_left


def test_without_ray_it_is_one_line(table, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "ray", None)
    # It sets these; so they are as before afterwards.
    for name, value in LOCAL_RAY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(SystemExit) as stop:
        fleet.main([str(table), "-o", str(tmp_path / "out"), "--engine", "ray"])
    assert stop.value.code == 2
    assert (
        capfd.readouterr().err == "error: --engine ray: needs ray; pip install -r requirements-extras.txt\n"
    )


@pytest.mark.ray
def test_a_cluster_that_is_not_there_is_one_line(table, tmp_path, monkeypatch, capfd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(SystemExit) as stop:
        fleet.main([str(table), "-o", str(tmp_path / "out"), "--engine", "ray"])
    assert stop.value.code == 2
    errors = capfd.readouterr().err
    assert errors.startswith(f"error: --engine ray: no Ray at RAY_ADDRESS={address}: ")
    assert errors.count("\n") == 1
