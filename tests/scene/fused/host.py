"""The kernels of scene/fused, compiled with the host's C++ compiler in double precision, launched there."""

import ctypes
import functools
import struct
import subprocess
from pathlib import Path

from scene.fused import layout
from scene.fused.layout import LAYOUTS, SOURCES, Sizes
from scene.fused.splats import KERNELS

HOST = Path(__file__).with_name("host.cpp")
TILE = 8


class HostKernels:
    """What scene.fused.splats.Kernels is on a GPU: a block is one thread here."""

    tile, threads, num_processors = TILE, 1, 2

    def __init__(self, head, folder: Path) -> None:
        options = layout.options_of(head, head.deforms, TILE, threads=1)
        self.sizes = Sizes(options)
        self._libraries = {
            source: _compiled(source, tuple(options.items()), folder) for source in SOURCES.values()
        }

    def launch(self, name: str, blocks: int, arguments: tuple[int | float, ...]) -> None:
        library = self._libraries[SOURCES[name]]
        packed = struct.pack(LAYOUTS[name].replace("f", "d"), *arguments)
        call = getattr(library, f"call_{name}")
        for block in range(blocks):
            library.start_block(block, blocks)
            call(packed)


@functools.cache
def _compiled(source: str, options: tuple, folder: Path) -> ctypes.CDLL:
    defined = [f"-D{name}={value}" for name, value in options]
    names = [name for name, its_source in SOURCES.items() if its_source == source]
    calls = "\n".join(
        f'extern "C" void call_{name}(const void *packed) {{ {name}(*({_struct(name)} const *)packed); }}'
        for name in names
    )
    main = folder / f"{source}.cpp"
    main.write_text(f'#define DOUBLE 1\n#define KERNELS "{KERNELS / source}"\n#include "{HOST}"\n{calls}\n')
    library = folder / f"{source}.so"
    strict = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"]
    strict += ["-Wno-unused-parameter", "-Wno-unused-variable"]
    run = ["c++", "-std=c++17", "-O0", "-shared", "-fPIC", *strict, *defined, main, "-o", library]
    result = subprocess.run(run, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return ctypes.CDLL(str(library))


def _struct(kernel: str) -> str:
    """The name of a kernel's arguments."""
    if kernel.startswith("head_"):
        return kernel.removeprefix("head_").capitalize()
    return "".join(part.capitalize() for part in kernel.split("_"))
