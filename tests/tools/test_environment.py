import os
import sys

import pytest

from tools import environment
from tools.environment import Group, SetupError

DOWNLOAD_STARTED = (
    "  Downloading https://example.org/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl (184.0 MB)\n"
)


class Machine:
    """A checkout in a folder of its own, with a pip that only writes down what it is asked for.

    `torch` and `cuda` (its major version) are .venv's; a call that has the word `fails_on` fails.
    """

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.torch: str | None = None
        self.system_torch: str | None = None
        self.driver: str | None = None
        self.cuda: str | None = None
        self.fails_on: str | None = None
        self.pip_says = ""

    def install(self, *arguments, doing):
        words = [str(word) for word in arguments]
        self.calls.append(words)
        with environment.LOG_FILE.open("a") as log:
            log.write(self.pip_says)
        if self.fails_on in words:
            raise SetupError("pip could not")
        for word in words:
            if word.startswith("torch=="):
                self.torch = word.removeprefix("torch==")

    def torch_version(self, python):
        return (
            self.torch or self.system_torch
            if python == environment.interpreter(environment.VENV)
            else self.system_torch
        )


@pytest.fixture
def machine(tmp_path, monkeypatch):
    files = {
        "requirements.txt": "torch>=2.10\nnumpy\n-e ./submodules/a\n",
        "requirements-dev.txt": "ruff==1\n",
        "constraints.txt": "# pins\ntorch==2.13.0\nnumpy==2.4.6\n",
        "submodules/a/pyproject.toml": "[project]\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    venv = tmp_path / ".venv"
    replaced = {
        "ROOT": tmp_path,
        "VENV": venv,
        "STATE_FILE": venv / "gaussianhead.json",
        "LOG_FILE": venv / "install.log",
        "CONSTRAINTS": tmp_path / "constraints.txt",
        "LOCAL_PACKAGES": (tmp_path / "submodules/a",),
    }
    fake = Machine()
    replaced |= {"install": fake.install, "torch_version": fake.torch_version, "sees_gpu": lambda: True}
    replaced["nvidia_driver"] = lambda: fake.driver
    replaced["torch_cuda"] = lambda: fake.cuda
    for name, value in replaced.items():
        monkeypatch.setattr(environment, name, value)
    monkeypatch.setattr(environment.subprocess, "run", make_empty_venv)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("TORCH_SPEC", raising=False)
    monkeypatch.delenv("TORCH_INDEX", raising=False)
    return fake


def make_empty_venv(command, **_):
    assert command[1:3] == ["-m", "venv"]
    python = environment.interpreter(command[-1])
    python.parent.mkdir(parents=True)
    python.touch()
    return environment.subprocess.CompletedProcess(command, 0)


def constraints() -> list[str]:
    return (environment.VENV / "constraints.txt").read_text().split()


def test_second_run_installs_nothing(machine):
    environment.ensure(Group.RUNTIME, Group.DEVELOPMENT)
    num_calls = len(machine.calls)
    assert environment.ensure(Group.RUNTIME, Group.DEVELOPMENT) == environment.interpreter(environment.VENV)
    # torch, requirements.txt, requirements-dev.txt.
    assert num_calls == len(machine.calls) == 3


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt", "submodules/a/pyproject.toml"])
def test_changed_requirements_are_installed_again_and_torch_stays(machine, name):
    environment.ensure(Group.RUNTIME, Group.DEVELOPMENT)
    machine.calls.clear()
    with (environment.ROOT / name).open("a") as file:
        file.write("# more\n")
    environment.ensure(Group.RUNTIME, Group.DEVELOPMENT)
    assert [str(environment.ROOT / "requirements.txt") in call for call in machine.calls] == [True]


def test_an_installation_that_failed_is_tried_again(machine):
    machine.fails_on = "-r"
    with pytest.raises(SetupError):
        environment.ensure(Group.RUNTIME)
    machine.calls.clear()
    machine.fails_on = None
    environment.ensure(Group.RUNTIME)
    # torch was in already.
    assert [call[:2] for call in machine.calls] == [["--only-binary=:all:", "-r"]]


def test_linter_needs_no_torch(machine):
    environment.ensure(Group.DEVELOPMENT)
    assert machine.torch is None


def test_venv_of_a_moved_checkout_or_another_python_is_made_anew(machine, monkeypatch):
    environment.ensure(Group.DEVELOPMENT)
    old = environment.VENV / "old"
    old.touch()
    monkeypatch.setattr(environment, "made_for", lambda: ["elsewhere", "3.14"])
    environment.ensure(Group.DEVELOPMENT)
    assert not old.exists()


def test_venv_that_is_not_ours_is_refused_and_never_deleted(machine, capsys):
    environment.VENV.mkdir()
    with pytest.raises(SetupError, match="not made by make"):
        environment.ensure(Group.RUNTIME)
    environment.remove()
    assert environment.VENV.exists()
    assert "left alone" in capsys.readouterr().out


def test_remove_deletes_our_venv(machine):
    environment.ensure(Group.DEVELOPMENT)
    environment.remove()
    assert not environment.VENV.exists()


def test_missing_venv_module_gets_one_line_that_says_what_to_install(machine, monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="apt install python3-venv") as raised:
        environment.ensure(Group.RUNTIME)
    assert "\n" not in str(raised.value)
    assert not environment.VENV.exists()


def test_without_gpu_a_cpu_build_is_taken_and_held(machine):
    environment.ensure(Group.RUNTIME)
    torch_call = machine.calls[0]
    assert torch_call[0] == "torch==2.13.0"
    assert environment.CPU_INDEX in torch_call
    assert "--no-deps" in torch_call
    assert constraints() == ["torch==2.13.0", "#", "pins", "numpy==2.4.6"]


def test_with_gpu_the_default_build_is_taken(machine):
    machine.driver = "580.1"
    environment.ensure(Group.RUNTIME)
    assert machine.calls[0] == ["torch==2.13.0"]


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_a_cuda_build_of_torch_gets_the_compiler_of_its_cuda(machine, cuda):
    machine.driver, machine.cuda = "580.1", cuda
    environment.ensure(Group.RUNTIME)
    assert f"cuda-core[cu{cuda}]>=1.0" in machine.calls[-1]


def test_gpu_that_torch_cannot_use_is_said(machine, monkeypatch, capsys):
    machine.driver = "470.1"
    monkeypatch.setattr(environment, "sees_gpu", lambda: False)
    environment.ensure(Group.RUNTIME)
    assert "cannot use the GPU (driver 470.1)" in capsys.readouterr().out


def test_unreachable_cpu_index_falls_back_and_says_how_large_that_is(machine, capsys):
    machine.fails_on = environment.CPU_INDEX
    machine.pip_says = "Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl.metadata (29 kB)\n"
    environment.ensure(Group.RUNTIME)
    assert machine.calls[1] == ["torch==2.13.0"]
    assert "5 GB" in capsys.readouterr().out


def test_cpu_download_that_broke_off_does_not_become_a_cuda_download(machine):
    machine.fails_on = environment.CPU_INDEX
    machine.pip_says = DOWNLOAD_STARTED
    with pytest.raises(SetupError):
        environment.ensure(Group.RUNTIME)
    assert len(machine.calls) == 1


def test_torch_of_the_system_is_kept_with_ranges_instead_of_pins(machine):
    machine.system_torch = "2.11.0+cu130"
    environment.ensure(Group.RUNTIME)
    assert len(machine.calls) == 1
    assert constraints() == ["torch==2.11.0+cu130"]


def test_index_and_version_of_torch_can_be_named_and_are_remembered(machine, monkeypatch):
    environment.ensure(Group.RUNTIME)
    machine.calls.clear()
    monkeypatch.setenv("TORCH_INDEX", "https://example.org/cu126")
    monkeypatch.setenv("TORCH_SPEC", "torch==2.12.0")
    environment.ensure(Group.DEVELOPMENT)
    environment.ensure(Group.RUNTIME)
    environment.ensure(Group.RUNTIME)
    monkeypatch.delenv("TORCH_INDEX")
    monkeypatch.delenv("TORCH_SPEC")
    environment.ensure(Group.RUNTIME)
    torch_calls = [call for call in machine.calls if "-r" not in call]
    assert torch_calls == [["--upgrade", "torch==2.12.0", "--extra-index-url", "https://example.org/cu126"]]
    assert constraints()[0] == "torch==2.12.0"


def test_offline_target_names_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    assert str(environment.without_installing("json", "pytest")) == sys.executable
    with pytest.raises(SetupError, match="has no no_such_module, and"):
        environment.without_installing("json", "no_such_module")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for pip is a shell script")
def test_failing_pip_shows_its_last_lines_and_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setattr(environment, "LOG_FILE", tmp_path / "install.log")
    python = environment.interpreter(tmp_path)
    python.parent.mkdir()
    python.write_text(
        "#!/bin/sh\nseq 1 20\necho 'Downloading x.whl (3.1 MB)'\necho 'ERROR: no route' >&2\nexit 1\n"
    )
    python.chmod(0o755)
    with pytest.raises(SetupError) as raised:
        environment.install("x", doing="x from nowhere")
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("pip could not install x from nowhere; its last lines")
    assert [line.strip() for line in lines[1:]] == [
        *map(str, range(15, 21)),
        "Downloading x.whl (3.1 MB)",
        "ERROR: no route",
    ]
    assert "1\n2\n3\n" in (tmp_path / "install.log").read_text()
    assert capsys.readouterr().out.splitlines() == [
        "installing x from nowhere",
        "  Downloading x.whl (3.1 MB)",
    ]
