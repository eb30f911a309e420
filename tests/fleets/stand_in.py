"""Scripts that stand in for train.py and the others: they leave what is read later, and a line in calls.txt.

A row whose `--seed` is 13 fails in train.py; one whose seed is 7 takes until a file `go` is beside the table.
A command that has the words in a file `failing` there fails, too. PSNR is 21.5 dB and the seed.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import fleet

STAND_IN = """
import json, os, pathlib, signal, sys, time
here = pathlib.Path(HERE)
script, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with (here / "calls.txt").open("a") as calls:
    calls.write(" ".join([script, *words]) + "\\n")
value = lambda flag: words[words.index(flag) + 1]
failing = here / "failing"
if failing.exists() and failing.read_text() in " ".join([script, *words]):
    sys.exit("error: it broke")
if script == "prepare.py":
    data = pathlib.Path(words[1])
    data.mkdir(parents=True, exist_ok=True)
    (data / "transforms.json").write_text("{}")
    sys.exit()
run = pathlib.Path(value("-m"))
if script == "train.py":
    saved = run / "checkpoints" / "iteration_5.safetensors"
    seed = "" if "--resume" in words else value("--seed") if "--seed" in words else ""
    saved.parent.mkdir(parents=True, exist_ok=True)
    if seed == "13":
        print("training: 1/2", flush=True)
        sys.exit("error: an unlucky number")
    def end(number, frame):
        with (here / "ended.txt").open("a") as ended:
            ended.write(f"{number}\\n")
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, end)
    (run / "eval").mkdir(exist_ok=True)
    (run / "eval" / "curves.json").write_text('{"evaluations": [{"seconds": 90}]}')
    if "--resume" not in words:
        (run / "seed").write_text(value("--seed") if "--seed" in words else "0")
    saved.write_text(str(os.getpid()))
    while seed == "7" and not (here / "go").exists():
        time.sleep(0.02)
if script == "render.py":
    for name in ("val", "test"):
        views = run / name / "ours_5"
        views.mkdir(parents=True, exist_ok=True)
        (views / "metrics.json").write_text(json.dumps({"mean": {"psnr": 20.0, "ssim": 0.9, "l1": 0.1}}))
if script == "metrics.py":
    path = run / value("--set") / "ours_5" / "metrics.json"
    psnr = 21.5 + int((run / "seed").read_text())
    scores = {"mean": {"psnr": psnr, "ssim": 0.91, "l1": 0.1, "head_psnr": 25.0, "background_error": None}}
    path.write_text(json.dumps({**json.loads(path.read_text()), "scores": scores}))
if script == "export.py":
    (run / "light").mkdir(exist_ok=True)
    (run / "light" / "iteration_5.safetensors").touch()
"""
SCRIPTS = ("prepare.py", "train.py", "render.py", "metrics.py", "export.py")


def write_scripts(folder: Path) -> Path:
    """Write them all into a folder, beside which calls.txt will be."""
    folder.mkdir()
    for name in SCRIPTS:
        (folder / name).write_text(STAND_IN.replace("HERE", repr(str(folder.parent))))
    return folder


def write_table(path: Path, text: str) -> Path:
    """Write a table, and a data set `data` beside it that nobody reads."""
    data = path.parent / "data"
    data.mkdir(exist_ok=True)
    (data / "transforms.json").write_text("{}")
    path.write_text(text.replace("DATA", str(data)))
    return path


def calls(folder: Path) -> list[str]:
    """The command lines so far, each with its script."""
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def state(out: Path, name: str) -> dict[str, str]:
    """Status of each stage of a row."""
    document = json.loads((out / "people" / name / "state.json").read_text())
    return {stage: entry["status"] for stage, entry in document["stages"].items()}


def start_in_background(tmp_path, text, *more, **environment):
    """Start fleet.py in a session of its own, with the stand-ins that are in `scripts`."""
    table, out = write_table(tmp_path / "people.csv", text), tmp_path / "out"
    code = "import sys, pathlib, fleet; sys.exit(fleet.main(sys.argv[2:], pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(tmp_path / "scripts"), str(table), "-o", str(out)]
    return subprocess.Popen(
        [*command, "--device", "cpu", *more],
        cwd=Path(fleet.__file__).parent,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(is_so, seconds=30.0):
    """Wait for something that comes in time."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
