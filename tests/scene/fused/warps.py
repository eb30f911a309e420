"""The kernels of scene/published_kernels.py, compiled with the host's C++ compiler, launched there."""

import ctypes
import struct
import subprocess
from pathlib import Path

from scene.published_kernels import KERNELS, LAYOUTS, options_of, shared_bytes

HOST = Path(__file__).with_name("warps.cpp")


class HostKernels:
    """What scene.published_kernels.Kernels is on a GPU."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.rows = rows
        self._shared = shared_bytes(rows)
        self._libraries = {
            name: _compiled(name, options, folder) for name, options in options_of(rows).items()
        }

    def launch(self, name: str, blocks: int, views: int, arguments: tuple[int, ...]) -> None:
        run = getattr(self._libraries[name], f"run_{name}")
        packed = struct.pack(LAYOUTS[name], *arguments)
        status = run(packed, blocks, views, options_of(self.rows)[name]["THREADS"], self._shared[name])
        assert status == 0, "threads wait for different things"


def _compiled(name: str, options: dict[str, int], folder: Path) -> ctypes.CDLL:
    struct_name = "".join(part.capitalize() for part in name.split("_"))
    defined = {**options, "NAME": name, "STRUCT": struct_name, "KERNELS": f'"{KERNELS / name}.cu"'}
    library = folder / f"{name}.so"
    strict = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"]
    run = ["c++", "-std=c++17", "-O2", "-shared", "-fPIC", *strict]
    run += [f"-D{key}={value}" for key, value in defined.items()]
    result = subprocess.run([*run, str(HOST), "-o", str(library)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return ctypes.CDLL(str(library))
