import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parent.parent / "conftest.py"
TESTS = """
import pytest

def test_runs_anywhere():
    pass

@pytest.mark.gpu
@pytest.mark.parametrize("size", [1, 2])
def test_runs_on_a_gpu(size):
    pass
"""


@pytest.fixture
def pytest_output(tmp_path):
    """Run pytest on three tests, two of them for the GPU, with a stand-in for torch."""

    def run(cuda_is_usable: bool, tests: str = TESTS) -> list[str]:
        (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
        (tmp_path / "test_it.py").write_text(tests)
        (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n gpu\n browser\npythonpath = .\n")
        (tmp_path / "torch.py").write_text(f"class cuda:\n    is_available = lambda: {cuda_is_usable}\n")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout.splitlines()

    return run


def test_gpu_tests_are_skipped_by_name_and_counted_where_there_is_no_gpu(pytest_output):
    *before, closing = pytest_output(cuda_is_usable=False)
    title = next(i for i, line in enumerate(before) if "GPU tests skipped, no usable CUDA device: 2" in line)
    assert before[title + 1 : title + 3] == [
        "test_it.py::test_runs_on_a_gpu[1]",
        "test_it.py::test_runs_on_a_gpu[2]",
    ]
    assert "1 passed, 2 skipped" in closing


def test_gpu_tests_run_where_there_is_a_gpu(pytest_output):
    lines = pytest_output(cuda_is_usable=True)
    assert "3 passed" in lines[-1]
    assert not any("GPU tests skipped" in line for line in lines)


def test_browser_tests_are_skipped_by_name_and_counted_where_there_is_no_browser(pytest_output, monkeypatch):
    monkeypatch.setenv("PATH", "")
    lines = pytest_output(cuda_is_usable=True, tests=TESTS.replace("mark.gpu", "mark.browser"))
    title = next(i for i, line in enumerate(lines) if "Browser tests skipped, no Chromium" in line)
    assert lines[title].strip("= ").endswith(": 2")
    assert lines[title + 1] == "test_it.py::test_runs_on_a_gpu[1]"
