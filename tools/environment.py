"""The virtual environment that `make` keeps in .venv: made once, mended when a requirement file changes.

Torch comes first, by itself, because an unpinned torch is a CUDA build of several GB on Linux:
1. a torch that the interpreter already has (conda, a container image, a cluster module) is kept: .venv then
   sees that interpreter's packages, and the ranges of requirements.txt hold, not the pins of constraints.txt;
2. else, where nvidia-smi works, PyPI's build, which on Linux is the CUDA one;
3. else a CPU build from PyTorch's CPU index or from wherever pip is configured to look.
TORCH_SPEC and TORCH_INDEX override the version (default: the pin in constraints.txt) and the index.
pip runs with the machine's own configuration: mirrors, find-links, certificates and constraints hold.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
# What was installed from what; its presence says that we made .venv.
STATE_FILE = VENV / "gaussianhead.json"
LOG_FILE = VENV / "install.log"
CONSTRAINTS = ROOT / "constraints.txt"
LOCAL_PACKAGES = (ROOT / "submodules/diff-gaussian-rasterization", ROOT / "submodules/simple-knn")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_INDEX = "https://download.pytorch.org/whl/cu126"
OLDEST_TORCH = (2, 10)
# An sdist that slips in would ask for a compiler, and say so a page later; this says it at once.
WHEELS_ONLY = ("--only-binary=:all:",)


class Group(Enum):
    """What can be installed: a requirement file each."""

    RUNTIME = "requirements.txt"
    DEVELOPMENT = "requirements-dev.txt"


class SetupError(Exception):
    """The environment cannot be made; the message is one sentence that says what to do."""


def ensure(*groups: Group) -> Path:
    """Make .venv and install what is missing of the groups; return its interpreter. Quick when up to date."""
    state = read_state()
    if state.get("made_for") != made_for() or not interpreter(VENV).exists():
        state = make_venv()
    wanted_torch = {name: os.environ[name] for name in ("TORCH_SPEC", "TORCH_INDEX") if os.environ.get(name)}
    if wanted_torch and wanted_torch != state.get("torch"):
        state["installed"].pop(Group.RUNTIME.value, None)
    stale = [group for group in groups if state["installed"].get(group.value) != fingerprint(group)]
    if not stale:
        return interpreter(VENV)
    started = time.monotonic()
    LOG_FILE.write_text("")
    for group in stale:
        if group is Group.RUNTIME:
            install_runtime(state, wanted_torch)
        else:
            install(*WHEELS_ONLY, "-r", ROOT / group.value, doing=group.value)
        state["installed"][group.value] = fingerprint(group)
        write_state(state)
    print(f"installed into {VENV.name} in {time.monotonic() - started:.0f} s", flush=True)
    return interpreter(VENV)


def without_installing(*modules: str) -> Path:
    """Return .venv's interpreter, else this one; raise SetupError if it lacks one of the modules."""
    python = interpreter(VENV) if interpreter(VENV).exists() else Path(sys.executable)
    probe = "import importlib.util, sys; print(*[m for m in sys.argv[1:] if not importlib.util.find_spec(m)])"
    answer = subprocess.run([python, "-c", probe, *modules], capture_output=True, text=True)
    if answer.returncode != 0 or answer.stdout.strip():
        missing = ", ".join(answer.stdout.split()) or "working standard library"
        raise SetupError(
            f"{python} has no {missing}, and this target installs nothing: run `make setup` online"
        )
    return python


def remove() -> None:
    """Delete .venv, if it is ours."""
    if STATE_FILE.exists():
        shutil.rmtree(VENV)
    elif VENV.exists():
        print(f"left alone: {VENV} was not made by make")


# --- the environment itself


def interpreter(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def made_for() -> list[str]:
    """A venv holds absolute paths and compiled wheels: it fits one folder and one minor version of Python."""
    return [str(ROOT), "{}.{}".format(*sys.version_info[:2])]


def make_venv() -> dict:
    if VENV.exists() and not STATE_FILE.exists():
        raise SetupError(
            f"{VENV} was not made by make: move it away, or install requirements.txt into it yourself"
        )
    check_venv_module()
    # Never a venv inside a venv.
    base = getattr(sys, "_base_executable", sys.executable)
    sees_system = torch_version(base) is not None
    print(f"making {VENV.name} with Python {sys.version.split()[0]}", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    # From here on it is known as ours, also when this is interrupted.
    write_state({})
    options = ["--system-site-packages"] if sees_system else []
    made = subprocess.run([base, "-m", "venv", *options, VENV], capture_output=True, text=True)
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupError(f"{base} -m venv failed; its last lines follow\n{tail(made.stdout + made.stderr)}")
    state = {"made_for": made_for(), "sees_system": sees_system, "installed": {}}
    write_state(state)
    return state


def check_venv_module() -> None:
    """Debian and Ubuntu ship Python without it, and their own message is a page long."""
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = "python{}.{}-venv".format(*sys.version_info[:2])
        raise SetupError(
            f"this Python has no venv module: apt install python3-venv (or {package}), then run it again"
        )


def read_state() -> dict:
    try:
        return json.loads(STATE_FILE.read_text())
    except (OSError, ValueError):
        return {}


def write_state(state: dict) -> None:
    STATE_FILE.write_text(json.dumps(state, indent=1) + "\n")


def fingerprint(group: Group) -> str:
    """A hash of every file that says what the group installs."""
    files = [ROOT / group.value]
    if group is Group.RUNTIME:
        files += [CONSTRAINTS, *(package / "pyproject.toml" for package in LOCAL_PACKAGES)]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


# --- what goes into it


def install_runtime(state: dict, wanted_torch: dict[str, str]) -> None:
    gpu_driver = nvidia_driver()
    version = torch_version(interpreter(VENV))
    if version is None or wanted_torch not in ({}, state.get("torch")):
        install_torch(wanted_torch, gpu_driver)
        state["torch"] = wanted_torch
        version = torch_version(interpreter(VENV))
    # From here on torch may not move, whatever the other packages ask for.
    pins = [] if state["sees_system"] else CONSTRAINTS.read_text().splitlines()
    pins = [f"torch=={version}", *(pin for pin in pins if not pin.startswith("torch=="))]
    own_constraints = VENV / "constraints.txt"
    own_constraints.write_text("\n".join(pins) + "\n")
    name = Group.RUNTIME.value
    install(*WHEELS_ONLY, "-r", ROOT / name, "-c", own_constraints, doing=f"{name} with torch {version}")
    # NVRTC and the bindings that compile the rasterizer's kernels at first use.
    if cuda := torch_cuda():
        install(*WHEELS_ONLY, f"cuda-core[cu{cuda}]>=1.0", doing=f"cuda-core for CUDA {cuda}")
    if gpu_driver and not sees_gpu():
        print(f"note: torch {version} cannot use the GPU (driver {gpu_driver}): all will run on the CPU.")
        print(
            f"      An older driver needs an older CUDA, say make setup TORCH_INDEX={CUDA_INDEX}", flush=True
        )


def install_torch(wanted: dict[str, str], gpu_driver: str | None) -> None:
    spec = wanted.get("TORCH_SPEC") or pinned_torch()
    if "TORCH_INDEX" in wanted:
        index = wanted["TORCH_INDEX"]
        # --upgrade: another build of the same version is in the way, and satisfies the pin.
        install("--upgrade", spec, "--extra-index-url", index, doing=f"{spec} from {index}")
    elif gpu_driver:
        install(spec, doing=f"{spec}, CUDA build (driver {gpu_driver})")
    elif sys.platform.startswith("linux"):
        install_cpu_torch(spec)
    else:
        install(spec, doing=spec)


def install_cpu_torch(spec: str) -> None:
    # One retry and 15 s: that an index cannot be reached is known after half a minute at most. Without its
    # dependencies, which come with the rest: each would be looked up in the same index.
    options = ("--index-url", CPU_INDEX, "--no-deps", "--retries", "1", "--timeout", "15")
    try:
        install(spec, *options, doing=f"{spec}, CPU build (nvidia-smi finds no GPU)")
    except SetupError:
        # It was there, and the download broke off.
        if re.search(r"Downloading \S*torch-\S+\.whl \(", LOG_FILE.read_text(encoding="utf-8")):
            raise
        print(f"note: no CPU build of {spec} at {CPU_INDEX}, nor where pip is configured to look.")
        print("      Taking PyPI's: on Linux a CUDA build, about 5 GB on disk. To choose: Ctrl-C, then")
        print("      make setup TORCH_INDEX=... or TORCH_SPEC=...", flush=True)
        install(spec, doing=f"{spec} from PyPI")


def pinned_torch() -> str:
    return re.search(r"^torch==\S+", CONSTRAINTS.read_text(), re.MULTILINE).group()


def torch_version(python: Path | str) -> str | None:
    """Return the version of the torch that this interpreter finds, or None if there is none new enough."""
    # From its metadata: importing it takes 2 s, and fails until its dependencies are in.
    probe = "from importlib.metadata import version; print(version('torch'))"
    version = subprocess.run([python, "-c", probe], capture_output=True, text=True).stdout.strip()
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return version if numbers and tuple(map(int, numbers.groups())) >= OLDEST_TORCH else None


def torch_cuda() -> str | None:
    """Return the major CUDA version that .venv's torch was built with, or None for a CPU build."""
    probe = "import torch; print((torch.version.cuda or '').partition('.')[0])"
    answer = subprocess.run([interpreter(VENV), "-c", probe], capture_output=True, text=True)
    return answer.stdout.strip() or None


def nvidia_driver() -> str | None:
    """Return the driver version of the first NVIDIA GPU, or None where nvidia-smi is missing or fails."""
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = answer.stdout.split()
    return lines[0] if answer.returncode == 0 and lines else None


def sees_gpu() -> bool:
    check = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([interpreter(VENV), "-c", check], capture_output=True).returncode == 0


def install(*arguments: str | Path, doing: str) -> None:
    """Run .venv's pip install, showing what it downloads; LOG_FILE has all it says. Or raise SetupError."""
    print(f"installing {doing}", flush=True)
    pip = [interpreter(VENV), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    command = [str(word) for word in (*pip, *arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    output = ""
    with LOG_FILE.open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        with subprocess.Popen(command, cwd=ROOT, **streams) as process:
            for line in process.stdout:
                log.write(line)
                output += line
                if re.match(r"\s*(Downloading .* MB\)|Installing collected)", line):
                    print(f"  {line.strip()[:108]}", flush=True)
    if process.returncode != 0:
        raise SetupError(f"pip could not install {doing}; its last lines (all: {LOG_FILE}):\n{tail(output)}")


def tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"  {line[:200]}" for line in lines[-8:])
