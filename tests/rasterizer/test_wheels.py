"""The two packages installed elsewhere: wheels hold what is needed, and work without this repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "diff_gaussian_rasterization": ROOT / "submodules/diff-gaussian-rasterization",
    "simple_knn": ROOT / "submodules/simple-knn",
}
SOURCES = {".py", ".cu", ".cuh", ".h"}
# As code of the family writes it, in a folder of its own.
PROGRAM = """
import torch
from diff_gaussian_rasterization import GaussianRasterizationSettings, GaussianRasterizer
from diff_gaussian_rasterization.cuda.compiler import KERNELS
from simple_knn._C import distCUDA2
import diff_gaussian_rasterization as package, simple_knn

points = torch.rand(100, 3)
scales, rotations = distCUDA2(points).sqrt()[:, None].repeat(1, 3), torch.eye(4)[[0] * 100]
splats = package.Splats(points, torch.ones(100), scales, rotations, colors=points)
pose = torch.eye(4)
pose[2, 3] = 3
view = package.View(pose, torch.tensor([20.0, 20, 16, 16]), 32, 32)
print(float(package.rasterize(splats, view, backend="reference").alpha.max()))
print(GaussianRasterizer.__name__, "antialiasing" in GaussianRasterizationSettings._fields)
print(sorted(path.name for path in KERNELS.iterdir()))
print(package.__file__, simple_knn.__file__, sep="\\n")
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that knows nothing of this repository and asks no index; return what it prints."""
    unset = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PATH": os.defpath}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> dict[str, Path]:
    """The packages' folders as a clone has them: building writes beside the sources."""
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools 77, which builds wheels")
    folder, ignored = (
        tmp_path_factory.mktemp("sources"),
        shutil.ignore_patterns("__pycache__", "*.egg-info", "build"),
    )
    return {
        name: shutil.copytree(source, folder / source.name, ignore=ignored)
        for name, source in FOLDERS.items()
    }


@pytest.fixture(scope="module")
def wheels(copies, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    options = ["--no-deps", "--no-build-isolation", "-q", "-w", folder]
    run(sys.executable, "-m", "pip", "wheel", *options, *copies.values(), cwd=folder)
    built = list(folder.glob("*.whl"))
    assert len(built) == 2
    return {name: next(path for path in built if name in path.name) for name in FOLDERS}


def test_wheels_hold_every_source_and_nothing_compiled(wheels):
    for name, source in FOLDERS.items():
        expected = {
            path.relative_to(source).as_posix()
            for path in (source / name).rglob("*")
            if path.suffix in SOURCES
        }
        held = {path for path in zipfile.ZipFile(wheels[name]).namelist() if ".dist-info/" not in path}
        assert held == expected and len(expected) > 1
        # Nothing that depends on Python's version or the machine.
        assert wheels[name].name.endswith("-py3-none-any.whl")
    kernels = [
        path
        for path in zipfile.ZipFile(wheels["diff_gaussian_rasterization"]).namelist()
        if "/kernels/" in path
    ]
    assert {Path(path).name for path in kernels} >= {"project.cu", "blend.cu", "gaussian.h", "device.cuh"}


@pytest.mark.parametrize("source", ["folder", "wheel"])
def test_installed_packages_work_in_an_empty_environment(copies, wheels, tmp_path, source):
    environment, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=elsewhere).strip()
    )
    wanted = wheels if source == "wheel" else copies
    options = ["--no-deps", "--no-build-isolation", "-q", "--target", site]
    run(sys.executable, "-m", "pip", "install", *options, *wanted.values(), cwd=elsewhere)
    # torch, numba and scipy are too large to install: those of this environment, after its own packages.
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    alpha, names, kernels, *files = run(python, "-c", PROGRAM, cwd=elsewhere).splitlines()
    assert float(alpha) > 0.9 and names == "GaussianRasterizer True"
    assert all(Path(file).is_relative_to(site) for file in files) and len(files) == 2
    assert "project.cu" in kernels
