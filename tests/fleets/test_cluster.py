"""fleet.py on a real SLURM: slurmctld and slurmd of this machine (Debian: slurm-wlm; unpacked will do).

Both are started here, on ports of their own, without munge and without accounting. Minutes long: of make
reliability.
"""

import csv
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

import fleet
from tests.conftest import slurm_program
from tests.fleets.stand_in import calls, write_scripts, write_table

CONFIG = """
ClusterName=one
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PluginDir={plugins}
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
KillWait=10
SchedulerParameters=sched_interval=2,batch_sched_delay=1
NodeName={host} CPUs=2
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster of one node until the test ends."""
    slurmctld, slurmd, slurmstepd = map(slurm_program, ("slurmctld", "slurmd", "slurmstepd"))
    library = next(slurmd.parents[1].glob("lib/*/slurm-wlm"))
    folder, config = tmp_path / "slurm", tmp_path / "slurm.conf"
    (folder / "spool").mkdir(parents=True)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    host = socket.gethostname()
    text = CONFIG.format(folder=folder, plugins=library, host=host, user=user, ports=free_ports(2))
    config.write_text(text)
    monkeypatch.setenv("SLURM_CONF", str(config))
    paths = [str(library), str(library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(filter(None, paths)))
    monkeypatch.setenv("PATH", f"{slurmd.parents[1] / 'bin'}:{os.environ['PATH']}")
    commands = [slurmctld, "-D", "-f", config], [slurmd, "-D", "-f", config, "-N", host, "-d", slurmstepd]
    daemons = []
    with (folder / "log.txt").open("w") as log:
        for command in commands:
            daemons.append(subprocess.Popen(list(map(str, command)), stdout=log, stderr=log))
            time.sleep(2)
    try:
        end = time.monotonic() + 60
        while "idle" not in subprocess.run(["sinfo"], capture_output=True, text=True).stdout:
            assert time.monotonic() < end, (folder / "log.txt").read_text()
            time.sleep(1)
        yield
    finally:
        subprocess.run(["scancel", "--user", user], check=False)
        time.sleep(1)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@pytest.mark.reliability
@pytest.mark.submitit
@pytest.mark.slurm
@pytest.mark.timeout(480)
def test_a_job_that_runs_out_of_time_goes_on_in_its_next_turn(cluster, tmp_path, capfd):
    scripts, out = write_scripts(tmp_path / "scripts"), tmp_path / "out"
    # `slow` never ends by itself; only --resume makes it.
    text = "name,source,seed\nslow,DATA,7\nbad,DATA,13\ngood,DATA,1\n"
    table = write_table(tmp_path / "people.csv", text)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    slurm = ["--engine", "slurm", "--minutes", "1", "--slurm", "slurm_signal_delay_s=20"]
    try:
        assert fleet.main([str(table), "-o", str(out), "--device", "cpu", *slurm], scripts) == 1
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before):
            signal.signal(number, handler)
    with (out / "fleet.csv").open(newline="") as file:
        assert {row["name"]: row["status"] for row in csv.DictReader(file)} == {
            **{"slow": "done", "bad": "failed", "good": "done"}
        }
    turns = [call for call in calls(tmp_path) if call.startswith("train.py") and "people/slow/" in call]
    assert ["--resume" in turn for turn in turns] == [False, True]
    logs = "".join(path.read_text() for path in Path(out / "slurm").glob("*_log.out"))
    assert "Calling checkpoint method" in logs
    assert shutil.which("sbatch")
