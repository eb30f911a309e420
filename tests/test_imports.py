"""Imports go one way, dependencies are declared, and no path of somebody's machine is committed.

scripts -> training -> rendering -> scene, gaussian_renderer -> utils        submodules: packages of their own
"""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [
    "train.py",
    "render.py",
    "metrics.py",
    "export.py",
    "viewer.py",
    "demo.py",
    "prepare.py",
    "import_checkpoint.py",
    "fleet.py",
]
RASTERIZER = "submodules/diff-gaussian-rasterization/diff_gaussian_rasterization"
SIMPLE_KNN = "submodules/simple-knn/simple_knn"
PACKAGES = {"diff_gaussian_rasterization", "simple_knn"}

# Which of our own modules each folder may import.
MAY_IMPORT = {
    "utils": set(),
    "arguments": {"utils"},
    "gaussian_renderer": {"arguments", "utils", *PACKAGES},
    "scene": {"arguments", "utils", *PACKAGES},
    "rendering": {"arguments", "gaussian_renderer", "scene", "utils", *PACKAGES},
    "training": {
        *("arguments", "gaussian_renderer", "parametric_head", "rendering", "scene", "utils", "viewing"),
        *PACKAGES,
    },
    "viewing": {
        *("arguments", "gaussian_renderer", "parametric_head", "rendering", "scene", "utils"),
        *PACKAGES,
    },
    "scoring": {"arguments", "scene", "utils"},
    "parametric_head": {"utils"},
    "preparation": {"arguments", "parametric_head", "scene", "utils"},
    # They run the scripts as processes.
    "fleets": {"arguments", "utils"},
    RASTERIZER: set(),
    SIMPLE_KNN: set(),
}
SCRIPT_NAMES = {
    *("train", "render", "metrics", "export", "viewer", "demo", "prepare", "fleet"),
    *("tools", "tests", "benchmarks"),
}
OWN = SCRIPT_NAMES | {Path(folder).name for folder in MAY_IMPORT}
REQUIRED_AS = {"cv2": "opencv-python-headless"}
# The rasterizer's extras (cuda-core); prepare.py --matting; fleet.py --engine slurm.
OPTIONAL = {"cuda", "onnxruntime", "submitit"}


@cache
def tracked_files() -> tuple[Path, ...]:
    """What a clone holds; every file that git does not ignore, where this is a checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        files = [ROOT / name for name in listed.stdout.splitlines()]
    except (OSError, subprocess.CalledProcessError):  # no checkout: an unpacked archive
        left_out = re.compile(r"/(\.(?!ci/)[^/]*|output|__pycache__)/")
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*")]
        files = [ROOT / name for name in names if not left_out.search(f"/{name}")]
    return tuple(path for path in files if path.is_file())


def python_files(folder: str) -> list[Path]:
    return [
        path for path in tracked_files() if path.suffix == ".py" and (ROOT / folder) in (path, *path.parents)
    ]


def imported_modules(path: Path) -> set[str]:
    """The top-level modules that a file imports, anywhere in it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(node.module)
    return {module.partition(".")[0] for module in modules}


def is_third_party(module: str) -> bool:
    return module not in sys.stdlib_module_names and module not in OWN | OPTIONAL


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_go_one_way(folder):
    files = python_files(folder)
    allowed = MAY_IMPORT[folder] | {Path(folder).name}
    backwards = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported_modules(path) & OWN - allowed
    }
    assert files
    assert not backwards


def test_arguments_is_the_only_place_that_knows_argparse():
    # demo.py runs the other scripts and has options of its own.
    places = {*MAY_IMPORT, *SCRIPTS} - {"demo.py"}
    users = {
        place for place in places for path in python_files(place) if "argparse" in imported_modules(path)
    }
    assert users == {"arguments"}


def test_every_package_that_is_imported_is_a_requirement_and_the_other_way_round():
    names = ("requirements.txt", "requirements-prepare.txt")
    lines = [line for name in names for line in (ROOT / name).read_text().splitlines()]
    required = {match.group() for line in lines if (match := re.match(r"[a-z][\w.-]*", line))}
    files = [path for folder in (*MAY_IMPORT, *SCRIPTS) for path in python_files(folder)]
    modules = {module for path in files for module in imported_modules(path) if is_third_party(module)}
    imported = {REQUIRED_AS.get(module, module.replace("_", "-")) for module in modules}
    assert imported == required


def test_requirement_files_agree_on_the_packages_they_name():
    name_of = re.compile(r"[a-z][\w.-]*")
    required, constrained = (
        {match.group() for line in (ROOT / name).read_text().splitlines() if (match := name_of.match(line))}
        for name in ("requirements.txt", "constraints.txt")
    )
    assert constrained == required


def test_no_path_of_somebodys_machine_is_committed():
    # Written so that this file does not match itself.
    private = re.compile(rb"(?<![\w.<])/(?:work|root|home/[a-z]|Users/[A-Za-z])(?:/)", re.IGNORECASE)
    text = {".py", ".md", ".txt", ".toml", ".json", ".sh", ".cfg", ".yml", ".yaml", ""}
    named = {
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in tracked_files()
        if path.suffix in text
        for match in private.finditer(path.read_bytes())
    }
    assert not named
