"""Tests marked `gpu` are skipped where there is no usable CUDA device, those marked `browser` where there is
no Chromium; they are listed by name, with their number, above pytest's closing line.

`browser` is a Chromium for the whole session: `page = browser.new_page()`.
"""

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# WebGL2 on the CPU, as root too.
CHROMIUM_FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
CHROMIUM_FLAGS += ("--ignore-gpu-blocklist",)


class Need(NamedTuple):
    """What tests with a marker need."""

    is_met: Callable[[], bool]
    reason: str
    title: str


@functools.cache
def cuda_is_usable() -> bool:
    import torch  # only where a gpu test was collected: importing it takes 2 s

    return torch.cuda.is_available()


def chromium() -> str | None:
    """The program, where this machine has one."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def browser_is_usable() -> bool:
    return chromium() is not None and importlib.util.find_spec("playwright") is not None


def submitit_is_usable() -> bool:
    return importlib.util.find_spec("submitit") is not None


def ray_is_usable() -> bool:
    return importlib.util.find_spec("ray") is not None


def slurm_program(name: str) -> Path | None:
    """A daemon of SLURM, as Debian calls it, on PATH or in /usr/sbin."""
    places = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
    found = shutil.which(name, path=places) or shutil.which(f"{name}-wlm", path=places)
    return None if found is None else Path(found).resolve()


def slurm_is_usable() -> bool:
    return None not in map(slurm_program, ("slurmctld", "slurmd", "slurmstepd"))


NEEDS = {
    "gpu": Need(cuda_is_usable, "needs a usable CUDA device", "GPU tests skipped, no usable CUDA device"),
    "browser": Need(
        browser_is_usable,
        "needs Chromium and playwright",
        "Browser tests skipped, no Chromium with playwright",
    ),
    "submitit": Need(submitit_is_usable, "needs submitit", "SLURM tests skipped, no submitit"),
    "ray": Need(ray_is_usable, "needs ray", "Ray tests skipped, no ray"),
    "slurm": Need(slurm_is_usable, "needs slurmctld and slurmd", "SLURM tests skipped, no SLURM"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, need in NEEDS.items():
            if item.get_closest_marker(marker) and not need.is_met():
                item.add_marker(pytest.mark.skip(reason=need.reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("skipped")
    for need in NEEDS.values():
        skipped = [report for report in reports if need.reason in str(report.longrepr)]
        if skipped:
            terminalreporter.section(f"{need.title}: {len(skipped)}")
            for report in skipped:
                terminalreporter.line(report.nodeid)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A headless Chromium (playwright's `Browser`) that draws WebGL2 on the CPU."""
    from playwright.sync_api import sync_playwright  # not where no test needs it

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        yield launched
        launched.close()
