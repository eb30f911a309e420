import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import tasks

ROOT = Path(tasks.__file__).resolve().parent.parent
AS_OLD_PYTHON = """
import runpy, sys
sys.version_info, sys.version = (3, 8, 18), "3.8.18 (default)"
sys.argv = ["tools/tasks.py", "demo"]
runpy.run_path("tools/tasks.py", run_name="__main__")
"""


def test_old_python_gets_one_line_that_names_the_version_needed():
    answer = subprocess.run([sys.executable, "-c", AS_OLD_PYTHON], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode != 0
    assert re.fullmatch(
        r"error: GaussianHead needs Python 3\.10 or newer and this is 3\.8\.18: .*\n", answer.stderr
    )


def test_old_python_can_read_the_script_that_says_so():
    ast.parse((ROOT / "tools/tasks.py").read_text(), feature_version=(3, 6))


def test_make_and_the_script_know_the_same_targets():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()
    described = re.findall(r"^([a-z-]+)(?:   |$)", tasks.__doc__, re.MULTILINE)
    assert sorted(phony) == sorted(described) == sorted([*tasks.TARGETS, "help"])


def test_unknown_target_is_one_line_and_exit_code_2(capsys):
    assert tasks.main(["dmeo"]) == 2
    assert capsys.readouterr().err.startswith("error: no target 'dmeo'; there are: help, demo")


def test_setup_error_is_one_line_and_no_traceback(monkeypatch, capsys):
    def fail(*groups):
        raise tasks.SetupError("no room")

    monkeypatch.setattr(tasks.environment, "ensure", fail)
    assert tasks.main(["test"]) == 1
    assert capsys.readouterr().err == "error: no room\n"


@pytest.mark.parametrize("target", ["demo", "test", "results", "test-offline", "demo-offline"])
def test_arguments_go_to_the_command_and_its_exit_status_comes_back(target, monkeypatch):
    seen = []
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(tasks.environment, "ensure", lambda *groups: Path("python"))
    monkeypatch.setattr(tasks.environment, "without_installing", lambda *modules: Path("python"))
    monkeypatch.setattr(
        tasks.processes, "run", lambda command, **options: seen.append((command, options)) or 5
    )
    assert tasks.main([target, "--flag", "x"]) == 5
    ((command, options),) = seen
    assert command[-2:] == ["--flag", "x"]
    assert ("simple-knn" in options["env"].get("PYTHONPATH", "")) == target.endswith("-offline")


def test_lint_fails_when_only_the_format_is_off(monkeypatch):
    monkeypatch.setattr(tasks.environment, "ensure", lambda *groups: Path("python"))
    monkeypatch.setattr(tasks.processes, "run", lambda command, **options: int("format" in command))
    assert tasks.main(["lint"]) == 1


def test_clean_removes_caches_and_the_demo_and_leaves_avatars_and_their_folder(tmp_path, monkeypatch):
    kept = ["output/.gitkeep", "output/me/config.json", "utils/images.py"]
    removed = ["output/demo/config.json", ".ruff_cache/x", "utils/__pycache__/images.pyc"]
    for name in kept + removed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(tasks, "ROOT", tmp_path)
    monkeypatch.setattr(tasks.environment, "remove", lambda: None)
    assert tasks.main(["clean"]) == 0
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == kept


def test_results_have_a_folder_in_a_fresh_clone_and_stay_out_of_git():
    def ignores(name):
        return subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT).returncode == 0

    assert (ROOT / "output" / ".gitkeep").is_file()
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: an unpacked archive")
    assert ignores("output/demo/config.json") and not ignores("output/.gitkeep")


@pytest.mark.parametrize(("given", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(given, used, monkeypatch):
    seen = []
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    monkeypatch.setattr(tasks.processes, "run", lambda command, **options: seen.append(options) or 0)
    tasks.run(["python"])
    assert seen[0]["env"]["OMP_WAIT_POLICY"] == used
