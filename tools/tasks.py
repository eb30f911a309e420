"""What `make` runs, for machines without make too: python3 tools/tasks.py TARGET [arguments of the target].

demo           install what is missing; train on data/demo, render, score; results in output/demo
test           install what is missing; run the tests (GPU tests are skipped, by name, where there is no GPU)
reliability    the tests that take minutes: kills, damaged files, long runs; with printed counts
lint           install ruff if missing; check and format --check
format         the same ruff: mend what it can mend by itself, and format
results        the tables of docs/results.md once more, on a GPU: results --clips DIR [DIR ...]
gallery        make gallery/ again from a trained avatar: gallery -m output/obama
setup          install everything into .venv, run nothing
demo-offline   demo and test without installing: with .venv if it is there, else with this Python
test-offline
clean          remove .venv, caches and output/demo; avatars in output/ stay
help           this text

Everything is installed into .venv. TORCH_INDEX and TORCH_SPEC choose another build of torch, for example
TORCH_INDEX=https://download.pytorch.org/whl/cu126; unset, it is the torch that this Python already has, else
a CUDA build where nvidia-smi works, else a CPU build.
"""

import sys

# Before anything that an older Python could not read; this file keeps to the grammar of Python 3.6.
if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit(
        "error: GaussianHead needs Python 3.10 or newer and this is "
        + sys.version.split()[0]
        + ": name a newer one, as in `make demo PYTHON=python3.12` or `python3.12 tools/tasks.py demo`"
    )

import os
import shutil
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tools import environment, processes
from tools.environment import ROOT, Group, SetupError
from utils import startup

# What the *-offline targets look for before they start: the modules of requirements.txt, without our own.
RUNTIME_MODULES = ["torch", "numpy", "scipy", "numba", "safetensors", "plyfile", "cv2"]
RUNTIME_MODULES += ["imageio", "imageio_ffmpeg", "matplotlib", "tqdm"]


def main(argv):
    target, arguments = (argv[0], argv[1:]) if argv else ("help", [])
    if target in ("help", "-h", "--help"):
        print(__doc__.strip())
        return 0
    if target not in TARGETS:
        print(f"error: no target {target!r}; there are: help, {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    try:
        return TARGETS[target](arguments)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def demo(arguments):
    return run([environment.ensure(Group.RUNTIME), "demo.py", *arguments])


def test(arguments):
    return run([environment.ensure(Group.RUNTIME, Group.DEVELOPMENT), "-m", "pytest", *arguments])


def reliability(arguments):
    python = environment.ensure(Group.RUNTIME, Group.DEVELOPMENT)
    return run([python, "-m", "pytest", "-m", "reliability", "-s", "tests/reliability", *arguments])


def demo_offline(arguments):
    python = environment.without_installing(*RUNTIME_MODULES)
    return run([python, "demo.py", *arguments], offline=True)


def test_offline(arguments):
    python = environment.without_installing("pytest", *RUNTIME_MODULES)
    return run([python, "-m", "pytest", *arguments], offline=True)


def lint(arguments):
    python = environment.ensure(Group.DEVELOPMENT)
    checked = run([python, "-m", "ruff", "check", ".", *arguments])
    formatted = run([python, "-m", "ruff", "format", "--check", ".", *arguments])
    return checked or formatted


def format_code(arguments):
    python = environment.ensure(Group.DEVELOPMENT)
    mended = run([python, "-m", "ruff", "check", "--fix", ".", *arguments])
    formatted = run([python, "-m", "ruff", "format", ".", *arguments])
    return mended or formatted


def results(arguments):
    return run([environment.ensure(Group.RUNTIME), "benchmarks/results.py", *arguments])


def gallery(arguments):
    return run([environment.ensure(Group.RUNTIME), "tools/make_gallery.py", *arguments])


def setup(arguments):
    environment.ensure(Group.RUNTIME, Group.DEVELOPMENT)
    print(f"ready: {environment.VENV}")
    return 0


def clean(arguments):
    environment.remove()
    for pattern in ("**/__pycache__", "submodules/*/*.egg-info", "submodules/*/build"):
        for folder in ROOT.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)
    for name in (".pytest_cache", ".ruff_cache", "output/demo"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    return 0


def run(command, offline=False):
    """Run one command from the root of the checkout and return its exit status."""
    variables = {**startup.VARIABLES, **os.environ}
    if offline:
        # The packages under submodules/ may not be installed.
        folders = [*map(str, environment.LOCAL_PACKAGES), variables.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    return processes.run(command, cwd=ROOT, env=variables)


TARGETS = {
    "demo": demo,
    "test": test,
    "reliability": reliability,
    "lint": lint,
    "format": format_code,
    "results": results,
    "gallery": gallery,
    "setup": setup,
    "demo-offline": demo_offline,
    "test-offline": test_offline,
    "clean": clean,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
