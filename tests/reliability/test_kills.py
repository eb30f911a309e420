"""Runs that are killed as `kill -9` does, at any moment and inside a save: all go on, none has a broken file.

A few in `make test`; `make reliability` kills 100, 30 of them inside a save and 70 anywhere, and prints the
counts. KILLS_INSIDE_SAVES and KILLS_AT_RANDOM ask for others.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.reliability import tiny
from tests.synthetic import write_clip

ROOT = Path(__file__).resolve().parents[2]
INSIDE_SAVES = int(os.environ.get("KILLS_INSIDE_SAVES", "30"))
AT_RANDOM = int(os.environ.get("KILLS_AT_RANDOM", "70"))


class Runner:
    """tests/reliability/runner.py as a child of this process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.reliability.runner"]
        folders = [str(ROOT), *map(str, (ROOT / "submodules").iterdir())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **job) -> dict:
        print(json.dumps(job), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def start(self, flags: list[str], log: Path, fault: dict | None = None) -> int:
        return self.ask(train=flags, log=str(log), fault=fault)["pid"]

    def wait(self, pid: int, seconds: float = 120) -> int | None:
        return self.ask(wait=pid, seconds=seconds)["code"]

    def run(self, flags: list[str], log: Path, fault: dict | None = None) -> int | None:
        return self.wait(self.start(flags, log, fault))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=20)


@pytest.fixture(scope="module")
def runner():
    runner = Runner()
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("data") / "clip", num_frames=12)


@pytest.fixture(scope="module")
def whole(runner, clip, tmp_path_factory):
    """A run that nothing disturbed, and what its saves did to the disk."""
    model = tmp_path_factory.mktemp("output") / "whole"
    log = model.parent / "log"
    # The first one may have kernels to compile.
    pid = runner.start(tiny.arguments(clip, model), log, {"at": 0})
    assert runner.wait(pid, 600) == 0
    return model, [line.split()[1] for line in log.read_text().splitlines() if line.startswith("event")]


def resumed(runner, clip, model, log) -> str:
    """Go on as a user would: from the last checkpoint, or anew where there is none yet; which of the two."""
    assert tiny.damaged_files(model) == []
    has_checkpoint = bool(tiny.checkpoints(model))
    flags = ["-m", str(model), "--resume"] if has_checkpoint else tiny.arguments(clip, model, "--overwrite")
    assert runner.run(flags, log) == 0, log.read_text()[-2000:]
    assert tiny.leftovers(model) == [] and tiny.damaged_files(model) == []
    return "from a checkpoint" if has_checkpoint else "anew, without a checkpoint yet"


def kill_inside_saves(runner, clip, whole, folder, faults) -> None:
    reference, events = whole
    kinds = {}
    for i, (at, how) in enumerate(faults):
        model, log = folder / f"run{i}", folder / f"log{i}"
        code = runner.run(tiny.arguments(clip, model), log, {"at": at, "how": how})
        assert code == -signal.SIGKILL, (at, how, code)
        resumed(runner, clip, model, log)
        assert tiny.same_model(reference, model)
        kinds[f"{events[at - 1]} {how}"] = kinds.get(f"{events[at - 1]} {how}", 0) + 1
    print(f"\n{len(faults)} kills inside saves of {len(events)} steps: all went on, bit for bit: {kinds}")


def faults_of(events: list[str]) -> list[tuple[int, str]]:
    """All places at which a save can be cut, and how."""
    hows = {"write": ("before", "half", "after")}
    return [(i, how) for i, name in enumerate(events, 1) for how in hows.get(name, ("before", "after"))]


def test_a_few_kills_inside_saves_lose_nothing(runner, clip, whole, tmp_path):
    faults = faults_of(whole[1])
    assert {"write", "fsync", "replace"} == set(whole[1])
    random.Random(0).shuffle(faults)
    # One of each kind, and in the middle of a write.
    chosen = {
        whole[1][at - 1]: (at, how) for at, how in faults if how == "half" or whole[1][at - 1] != "write"
    }
    kill_inside_saves(runner, clip, whole, tmp_path, list(chosen.values()))


@pytest.mark.reliability
@pytest.mark.timeout(3600)
def test_kills_inside_saves_lose_nothing(runner, clip, whole, tmp_path):
    faults = faults_of(whole[1])
    random.Random(1).shuffle(faults)
    kill_inside_saves(runner, clip, whole, tmp_path, faults[:INSIDE_SAVES])


@pytest.mark.reliability
@pytest.mark.timeout(3600)
def test_kills_at_random_moments_lose_nothing(runner, clip, whole, tmp_path):
    """Each run is killed once somewhere between its start and its end; those that ended before count for
    nothing, and another moment is drawn."""
    log, numbers = tmp_path / "log", random.Random(2)
    _, whole_seconds = killed_at(runner, tiny.arguments(clip, tmp_path / "timed"), log, float("inf"))
    ways, killed, too_late = Counter(), 0, 0
    while killed < AT_RANDOM:
        model = tmp_path / f"run{killed + too_late}"
        moment = numbers.uniform(0, 1) * whole_seconds
        code, seconds = killed_at(runner, tiny.arguments(clip, model), log, moment)
        if code != -signal.SIGKILL:
            assert code == 0, log.read_text()[-2000:]
            whole_seconds, too_late = seconds, too_late + 1
            assert too_late < 5 + AT_RANDOM // 5, "runs end before they are killed"
            continue
        killed += 1
        leftovers = len(tiny.leftovers(model))
        ways[resumed(runner, clip, model, log)] += 1
        ways["with a half-written file, since removed"] += leftovers > 0
        assert tiny.same_model(whole[0], model)
        shutil.rmtree(model)
        print(f"\r{killed} of {AT_RANDOM} kills at random moments: {dict(ways)}", end="", flush=True)
    ways["drawn too late, not counted"] = too_late
    print(f"\n{killed} kills at random moments: all went on, bit for bit: {dict(ways)}")


def killed_at(runner, flags, log, moment) -> tuple[int, float]:
    """Kill a run once it has used so many seconds of processors, which tell how far it is at any load; its
    code, and the seconds that it had."""
    pid, used = runner.start(flags, log), 0.0
    while (code := runner.wait(pid, 0)) is None:
        used = processor_seconds(pid)
        if used >= moment:
            os.kill(pid, signal.SIGKILL)
            return runner.wait(pid), used
        time.sleep(0.002)
    return code, used


def processor_seconds(pid: int) -> float:
    # Behind the name, which may have blanks: utime and stime are the 12th and 13th.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_second_training_is_refused_by_the_number_of_the_first(runner, clip, tmp_path):
    model, log = tmp_path / "run", tmp_path / "log"
    pid = runner.start(tiny.arguments(clip, model, "--iterations", "100000"), tmp_path / "first")
    try:
        while not (model / "train.log").is_file():
            time.sleep(0.05)
        assert runner.run(tiny.arguments(clip, model, "--overwrite"), log) == 2
        assert f"process {pid} trains there" in log.read_text()
        assert len(log.read_text().strip().splitlines()) == 1
        os.kill(pid, signal.SIGTERM)
        assert runner.wait(pid) == 143
    finally:
        if runner.process.poll() is None and Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
    assert runner.run(tiny.arguments(clip, model, "--overwrite"), log) == 0
