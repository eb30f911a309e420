"""Versions of what a run runs on, for its config.json."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "torch",
    "numpy",
    "numba",
    "diff-gaussian-rasterization",
    "gaussian-head-simple-knn",
    "opencv-python-headless",
    "safetensors",
    "cuda-core",
)


def versions() -> dict[str, str]:
    """Version by package name, for those that are installed; Python and the platform too."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
