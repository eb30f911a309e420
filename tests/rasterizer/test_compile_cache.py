"""The cache of compiled kernels: what decides a result, damage, unwritable folders, many users."""

import os
import shutil
import sys
import threading
from types import SimpleNamespace

import pytest

from diff_gaussian_rasterization.cuda import compiler, device


class Compilations(list):
    """Stands in for compile_source: notes the calls, and returns their number as the machine code."""

    def __call__(self, source, capability, options):
        self.append((source, capability, dict(options)))
        return f"code {len(self)}".encode(), ""


@pytest.fixture
def compilations(tmp_path, monkeypatch) -> Compilations:
    """A cache in tmp_path/cache, sources in tmp_path/kernels, and neither cuda-core nor NVRTC."""
    kernels = tmp_path / "kernels"
    shutil.copytree(compiler.KERNELS, kernels)
    monkeypatch.setattr(compiler, "KERNELS", kernels)
    monkeypatch.setenv("DIFF_GAUSSIAN_RASTERIZATION_CACHE", str(tmp_path / "cache"))
    set_versions(monkeypatch)
    made = Compilations()
    monkeypatch.setattr(compiler, "compile_source", made)
    return made


def set_versions(monkeypatch, core: str = "1.2.2", nvrtc: tuple[int, int] = (13, 0)) -> None:
    monkeypatch.setattr(compiler.metadata, "version", lambda name: core)
    bindings = SimpleNamespace(nvrtc=SimpleNamespace(nvrtcVersion=lambda: (0, *nvrtc)))
    for name, module in {"cuda": SimpleNamespace(bindings=bindings), "cuda.bindings": bindings}.items():
        monkeypatch.setitem(sys.modules, name, module)


def compiled(source="blend.cu", capability=(9, 0), options=device.BLEND) -> bytes:
    return compiler.machine_code(source, capability, options)


def files_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_second_call_finds_the_first_ones_result(compilations, tmp_path):
    assert compiled() == compiled() == b"code 1"
    assert [(source.name, *rest) for source, *rest in compilations] == [("blend.cu", (9, 0), device.BLEND)]
    assert len(files_in(tmp_path / "cache")) == 1


def test_whatever_decides_the_code_has_a_file_of_its_own(compilations, tmp_path, monkeypatch):
    compiled()
    compiled(source="project.cu")
    compiled(capability=(8, 6))
    compiled(options=device.BLEND | {"BACKWARD_THREADS": 128})
    set_versions(monkeypatch, core="1.3.0")
    compiled()
    set_versions(monkeypatch, nvrtc=(13, 1))
    compiled()
    set_versions(monkeypatch)
    monkeypatch.setattr(compiler.constants, "ALPHA_MAX", 0.98)
    compiled()
    monkeypatch.undo()
    assert len(compilations) == 7 == len(files_in(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["blend.cu", "formulas.h", "compiler.py"])
def test_changed_source_is_compiled_anew(compilations, tmp_path, monkeypatch, name):
    path = compiler.KERNELS / name
    # It holds the compiler's options.
    if name == "compiler.py":
        path = tmp_path / name
        shutil.copy(compiler.__file__, path)
        monkeypatch.setattr(compiler, "__file__", str(path))
    compiled()
    path.write_text(path.read_text() + "\n")
    assert compiled() == b"code 2"
    path.write_text(path.read_text()[:-1])
    assert compiled() == b"code 1" and len(compilations) == 2


@pytest.mark.parametrize("damage", ["cut short", "flipped bit", "empty", "checksum alone", "folder"])
def test_damaged_entry_is_compiled_again_and_replaced(compilations, tmp_path, damage):
    compiled()
    (entry,) = (tmp_path / "cache").iterdir()
    content = entry.read_bytes()
    if damage == "folder":
        entry.unlink()
        entry.mkdir()
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        entry.write_bytes(
            {"cut short": content[:-2], "flipped bit": flipped, "empty": b"", "checksum alone": content[:32]}[
                damage
            ]
        )
    assert compiled() == b"code 2"
    if damage != "folder":
        assert compiled() == b"code 2" and len(compilations) == 2
    # Nothing is left behind.
    assert len(files_in(tmp_path / "cache")) == 1


@pytest.mark.parametrize("where", ["a file", "below a file", "read only"])
def test_folder_that_cannot_be_written_does_no_harm(compilations, tmp_path, monkeypatch, where):
    folder = tmp_path / "other"
    # By its mode it would not be, for root.
    if where == "read only":

        def refused(**_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(compiler.tempfile, "mkstemp", refused)
    else:
        folder.write_text("")
    folder = folder / "x" if where == "below a file" else folder
    monkeypatch.setenv("DIFF_GAUSSIAN_RASTERIZATION_CACHE", str(folder))
    assert compiled() == b"code 1" and compiled() == b"code 2"


def test_failed_write_leaves_no_entry_and_nothing_else(compilations, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiler.os, "replace", full)
    assert compiled() == b"code 1"
    assert files_in(tmp_path / "cache") == []


def test_entry_appears_whole(compilations, tmp_path, monkeypatch):
    """What has its final name is complete: it is written elsewhere and then renamed."""
    seen, replace = [], os.replace

    def noted(temporary, path):
        assert not os.path.exists(path)
        replace(temporary, path)
        seen.append(compiler._read(path))

    monkeypatch.setattr(compiler.os, "replace", noted)
    compiled()
    assert seen == [b"code 1"]


def test_many_writers_and_readers_at_once(compilations):
    results = []

    def work():
        results.extend(compiled() for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 160 and len(compilations) <= 8
    assert compiled() in {f"code {k}".encode() for k in range(1, 9)}


def test_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("DIFF_GAUSSIAN_RASTERIZATION_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiler.cache_folder() == tmp_path / "diff_gaussian_rasterization"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compiler.cache_folder() == tmp_path / ".cache" / "diff_gaussian_rasterization"
