"""The kernels' sources: how they are compiled, what that needs here, and the structs of arguments in them."""

import re
import shutil
import struct
from typing import NamedTuple

import pytest

from diff_gaussian_rasterization.cuda import compiler, device, ssim

PROJECT = [
    *(
        device.ProjectionKind(bases, True, *flags)
        for bases, flags in ((0, (True, True)), (16, (True, False)))
    ),
    *(device.ProjectionKind(16, False, *flags) for flags in ((True, False), (False, True), (True, True))),
    *(device.ProjectionKind(bases, given) for given in (True, False) for bases in (0, 1, 4, 9, 16)),
]
PROJECT = [kind.options() for kind in PROJECT]
BLEND = [device.BLEND | {"INVERSE_DEPTH": inverse} for inverse in (1, 0)]
# By source, with what is used most at the end.
OPTIONS = {"blend.cu": BLEND, "project.cu": PROJECT, "ssim.cu": [ssim.TILE]}


def nvrtc_works() -> bool:
    """Whether cuda-core is there, and its NVRTC."""
    if not compiler.is_installed():
        return False
    try:
        from cuda.bindings import nvrtc

        return nvrtc.nvrtcVersion()[0] == 0
    except (ImportError, RuntimeError):
        # Pathfinder's DynamicLibNotFoundError is one.
        return False


needs_nvrtc = pytest.mark.skipif(not nvrtc_works(), reason="needs cuda-core and NVRTC")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, `cc`")


class Field(NamedTuple):
    """A number in a struct of the kernels' arguments."""

    path: str
    code: str  # of Python's struct module


def structs_of(source: str) -> dict[str, str]:
    """The bodies of the structs in a source and the headers it includes, by name."""
    text = (compiler.KERNELS / source).read_text()
    for header in ("gaussian.h", "device.cuh"):
        text += (compiler.KERNELS / header).read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    for name, value in re.findall(r"#define (\w+) (\d+)\s", text):
        text = re.sub(rf"\b{name}\b", value, text)
    return dict(re.findall(r"struct (\w+) \{([^{}()]*)\};", text))


def fields_of(name: str, structs: dict[str, str]) -> list[Field]:
    """The fields of a struct in order, those of structs in it too."""
    fields = []
    for statement in filter(str.strip, structs[name].split(";")):
        statement = re.sub(r"\b(const|volatile)\b", "", statement).strip()
        kind, names = statement.split(None, 1)
        for declared in names.split(","):
            star, field, length = re.fullmatch(r"\s*(\*?)\s*(\w+)(?:\[([\d +]+)\])?\s*", declared).groups()
            if star:
                fields.append(Field(field, "P"))
            elif kind in structs:
                fields += [Field(f"{field}.{inner.path}", inner.code) for inner in fields_of(kind, structs)]
            else:
                places = (
                    [""] if length is None else [f"[{k}]" for k in range(sum(map(int, length.split("+"))))]
                )
                fields += [Field(field + place, {"int": "i", "float": "f"}[kind]) for place in places]
    return fields


class FakeKernel:
    """Notes what a Kernel is made with, and unpacks what it is launched with by the names of C."""

    made: dict[str, "FakeKernel"]

    def __init__(self, library, name: str, layout: str, threads: int):
        self.source, self.name, self.layout, self.threads = library, name, layout, threads
        structs = structs_of(library)
        pattern = rf"\b{name}\(\s*const __grid_constant__ (\w+) "
        self.struct = re.search(pattern, (compiler.KERNELS / library).read_text()).group(1)
        self.fields = fields_of(self.struct, structs)
        self.made[name] = self

    def launch(self, grid, stream, arguments, shared=0):
        values = struct.unpack(self.layout, struct.pack(self.layout, *arguments))
        self.grid, self.shared = grid, shared
        self.launched = dict(zip((field.path for field in self.fields), values, strict=True))

    def allow_shared(self, size):
        self.most_shared = size
