"""Tests marked `gpu` are skipped where there is no usable CUDA device, and listed by name, with their number,
above pytest's closing line."""

import functools

import pytest

REASON = "needs a usable CUDA device"


@functools.cache
def cuda_is_usable() -> bool:
    import torch  # only where a gpu test was collected: importing it takes 2 s

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not cuda_is_usable():
            item.add_marker(pytest.mark.skip(reason=REASON))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.getreports("skipped") if REASON in str(report.longrepr)]
    if skipped:
        terminalreporter.section(f"GPU tests skipped, no usable CUDA device: {len(skipped)}")
        for report in skipped:
            terminalreporter.line(report.nodeid)
