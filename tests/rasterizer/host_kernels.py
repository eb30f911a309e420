"""The kernels, as they are, compiled by the host's C++ compiler (host_cuda.h) and launched on the host."""

import ctypes
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from diff_gaussian_rasterization.cuda import compiler

HEADER = Path(__file__).with_name("host_cuda.h")
needs_cxx = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler, `c++`")


class HostLibraries:
    """Compiles each source once for each set of options."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple, ctypes.CDLL] = {}

    def load(self, source: str, options: dict[str, int]) -> ctypes.CDLL:
        key = source, *sorted(options.items())
        if key not in self._made:
            self._made[key] = self._compiled(source, options, self._folder / f"{len(self._made)}.cpp")
        return self._made[key]

    def _compiled(self, source: str, options: dict[str, int], path: Path) -> ctypes.CDLL:
        text = (compiler.KERNELS / source).read_text()
        kernels = re.findall(r"\b(\w+)\(\s*const __grid_constant__ (\w+) ", text)
        text = re.sub(r"extern __shared__ .* (\w+)\[\];", r"unsigned char *\1 = dynamic_shared;", text)
        runs = "".join(f"\nRUN({name}, {struct_name})" for name, struct_name in kernels)
        path.write_text(f'#include "{HEADER}"\n{text}{runs}\n')
        defined = [f"-D{name}={value}" for name, value in compiler.macros(options).items()]
        command = ["c++", "-std=c++17", "-O1", "-w", "-shared", "-fPIC", f"-I{compiler.KERNELS}", *defined]
        library = path.with_suffix(".so")
        result = subprocess.run([*command, path, "-o", library], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return ctypes.CDLL(str(library))


class HostKernel:
    """What driver.Kernel is on a GPU."""

    def __init__(self, library: ctypes.CDLL, name: str, layout: str, threads: int) -> None:
        self._run = getattr(library, f"run_{name}")
        self._name, self._layout, self._threads = name, layout, threads

    def launch(self, grid, stream, arguments, shared=0) -> None:
        packed = struct.pack(self._layout, *arguments)
        status = self._run(packed, *grid, self._threads, shared)
        assert status == 0, f"{self._name}: some threads wait and some do not"

    def allow_shared(self, size: int) -> None:
        """All of them may have what they ask for."""
