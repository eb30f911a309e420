"""The CUDA back-end where there is no GPU: its kernels compile, are cached, get the arguments that they
expect, and have a stand-in where their compiler is missing."""

import ctypes
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch.autograd import forward_ad

from diff_gaussian_rasterization import Splats, View, api, cuda, rasterize
from diff_gaussian_rasterization.cuda import compiler, device, driver, plan, ssim
from tests.rasterizer.scenes import camera, splats

CAPABILITIES = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (12, 0)]
PROJECT = [
    {"SH_BASES": bases, "GIVEN_COV3D": given, "PROJECT_THREADS": device.PROJECT_THREADS}
    for given in (1, 0)
    for bases in (0, 1, 4, 9, 16)
]
# By source, with what is used most at the end.
OPTIONS = {"blend.cu": [device.BLEND], "project.cu": PROJECT, "ssim.cu": [ssim.TILE]}


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


# --- compiling


def test_every_source_is_compiled_here():
    assert {path.name for path in compiler.KERNELS.glob("*.cu")} == set(OPTIONS)


@needs_nvrtc
@pytest.mark.parametrize("capability", CAPABILITIES, ids="{0[0]}.{0[1]}".format)
@pytest.mark.parametrize("source", OPTIONS)
def test_kernels_compile(source, capability):
    from cuda.bindings import nvrtc

    if 10 * capability[0] + capability[1] not in nvrtc.nvrtcGetSupportedArchs()[-1]:
        pytest.skip("needs an NVRTC that knows this capability")
    text = (compiler.KERNELS / source).read_text()
    kernels = re.findall(r"\b(\w+)\(\s*const __grid_constant__", text)
    # 0.3 s each.
    variants = OPTIONS[source] if capability == (9, 0) else OPTIONS[source][-1:]
    for options in variants:
        code, report = compiler.compile_source(source, capability, options)
        assert code.startswith(b"\x7fELF") and all(name.encode() in code for name in kernels)
        assert "warning" not in report, report
        spilled = re.findall(r"(\d+) bytes spill stores", report)
        assert len(spilled) >= len(kernels) > 0, report
        if capability == (9, 0):
            # blend_backward spills 4 bytes with NVRTC 13.5, none with 13.0: nobody would notice
            assert max(map(int, spilled)) <= 16, report


@needs_nvrtc
def test_errors_of_the_compiler_are_shown(tmp_path, monkeypatch):
    (tmp_path / "wrong.cu").write_text("__global__ void wrong() { nowhere = 1; }\n")
    monkeypatch.setattr(compiler, "KERNELS", tmp_path)
    with pytest.raises(Exception, match="nowhere"):
        compiler.compile_source("wrong.cu", (9, 0), {})


def test_thresholds_are_those_of_every_back_end():
    defined = compiler.macros({"SH_BASES": 4})
    assert defined["ALPHA_MAX"] == "0.99f" and defined["SH_BASES"] == "4"
    assert all(re.fullmatch(r"[\d.e-]+f", defined[name]) for name in compiler.THRESHOLDS)


# --- the cache


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
    assert compilations == [("blend.cu", (9, 0), device.BLEND)]
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


# --- arguments


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


@pytest.fixture
def kernels(monkeypatch) -> dict[str, FakeKernel]:
    """All kernels, by name, on a device that is not there."""
    made = {}
    monkeypatch.setattr(FakeKernel, "made", made, raising=False)
    for module in (device, ssim):
        monkeypatch.setattr(module, "Kernel", FakeKernel)
    monkeypatch.setattr(device.Device, "load", lambda self, source, options: source)
    monkeypatch.setattr(ssim, "Library", lambda code, index: code)
    monkeypatch.setattr(ssim.compiler, "machine_code", lambda source, *_: source)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    memory = SimpleNamespace(total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: memory)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    it = device.Device(-1)
    it.project(16, False)
    assert it.family_intrinsics
    ssim._kernels.__wrapped__(-1)
    for module in (cuda, plan):
        monkeypatch.setattr(module, "device_of", lambda index: it)
        monkeypatch.setattr(module, "current_stream", lambda index: 7)
    monkeypatch.setattr(plan, "clear", lambda *_: None)
    # Where CPU tensors are.
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: -1, raising=False)
    return made


def test_layouts_have_a_code_for_every_field_of_the_structs(kernels):
    names = {
        name
        for path in compiler.KERNELS.glob("*.cu")
        for name in re.findall(r"\b(\w+)\(\s*const __grid_constant__", path.read_text())
    }
    assert set(kernels) == names
    for name, kernel in kernels.items():
        codes = "".join(
            int(count or 1) * code for count, code in re.findall(r"(\d*)([Pif])", kernel.layout[:-2])
        )
        assert kernel.layout.endswith("0P"), name
        assert codes == "".join(field.code for field in kernel.fields), name


@needs_cc
def test_structs_are_laid_out_in_c_as_in_python(kernels, tmp_path):
    for source in {kernel.source for kernel in kernels.values()}:
        _check_offsets(source, kernels, tmp_path)


def _check_offsets(source: str, kernels: dict[str, FakeKernel], folder) -> None:
    structs = structs_of(source)
    ours = [kernel for kernel in kernels.values() if kernel.source == source]
    needed = [name for name in structs if any(uses(kernel.struct, name, structs) for kernel in ours)]
    needed = sorted(needed, key=lambda name: sum(uses(name, other, structs) for other in needed))
    lines = ["#include <stddef.h>", "typedef unsigned uint32;", "typedef unsigned long long uint64;"]
    lines += ["typedef struct float4 float4;"]
    lines += [f"typedef struct {name} {{{structs[name]}}} {name};" for name in needed]
    lines += [f"_Static_assert({claim});" for kernel in ours for claim in claims(kernel)]
    path = folder / f"{source}.c"
    path.write_text("\n".join(lines))
    result = subprocess.run(["cc", "-std=c11", "-fsyntax-only", path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def uses(name: str, other: str, structs: dict[str, str]) -> bool:
    """Whether a struct is another one or holds it."""
    held = [word for word in re.findall(r"\w+", structs[name]) if word in structs]
    return name == other or any(uses(inner, other, structs) for inner in held)


def claims(kernel: FakeKernel) -> list[str]:
    """What has to hold in C of the struct of a kernel's arguments, for static assertions."""
    sizes = [f'sizeof({kernel.struct}) == {struct.calcsize(kernel.layout)}, "{kernel.struct}"']
    codes = [field.code for field in kernel.fields]
    offsets = [struct.calcsize("".join(codes[:k]) + f"0{codes[k]}") for k in range(len(codes))]
    return sizes + [
        f'offsetof({kernel.struct}, {field.path}) == {offset}, "{kernel.struct}.{field.path}"'
        for field, offset in zip(kernel.fields, offsets)
    ]


@needs_nvrtc
@pytest.mark.parametrize("source", OPTIONS)
def test_structs_have_the_same_size_in_cuda_and_in_python(kernels, tmp_path, monkeypatch, source):
    """Not the offsets: NVRTC 13.0 has no offsetof."""
    for path in compiler.KERNELS.iterdir():
        shutil.copy(path, tmp_path)
    sizes = [claims(kernel)[0] for kernel in kernels.values() if kernel.source == source]
    lines = [f'#include "{source}"', *(f"static_assert({claim});" for claim in sizes)]
    (tmp_path / "layout.cu").write_text("\n".join(lines))
    monkeypatch.setattr(compiler, "KERNELS", tmp_path)
    compiler.compile_source("layout.cu", (7, 5), OPTIONS[source][0])


def test_gaussians_are_in_the_order_of_splats():
    names = [field.path for field in fields_of("GaussianPointers", structs_of("project.cu"))]
    assert names == list(Splats._fields)


@pytest.mark.parametrize("per_view", [None, False, True])
def test_launches_say_where_everything_lies(kernels, per_view):
    drawn, view = splats(50), camera(70, 33)  # 5 x 3 tiles
    drawn = Splats(*(None if t is None else t.float() for t in drawn))
    matrix, intrinsics = view.world_to_camera.float().T.contiguous().T, view.intrinsics.float()
    batch = () if per_view is None else (2,)
    if batch:
        matrix, intrinsics = torch.stack([matrix, matrix]), torch.stack([intrinsics, intrinsics])
    if per_view:
        drawn = Splats(*(None if t is None else torch.stack([t, t]) for t in drawn))
    view = view._replace(world_to_camera=matrix, intrinsics=intrinsics)
    call = plan.plan_of(drawn, view)
    radii = torch.zeros(*batch, 50, dtype=torch.int32)
    workspace = torch.zeros(call.size_with_rows, dtype=torch.uint8)
    image, depth, alpha = torch.zeros(*batch, 3, 33, 70), *torch.zeros(2, *batch, 33, 70)
    background = torch.zeros(3)
    head = call.head(drawn, matrix, intrinsics, view.near)
    call.project(head, radii, workspace)
    call.blend((image, depth, alpha), radii, background, workspace)
    project, blend = kernels["project_forward"], kernels["blend_forward"]

    views, start = (batch or (1,))[0], workspace.data_ptr()
    sizes = dict(num=50, tiles_x=5, tiles_y=3, capacity=call.capacity)
    for name, tensor in drawn._asdict().items():
        assert project.launched[f"gaussians.{name}"] == (0 if tensor is None else tensor.data_ptr())
    assert project.launched["camera.world_to_camera"] == matrix.data_ptr()
    strides = [project.launched[f"camera.{name}_stride"] for name in ("view", "row", "column")]
    assert strides == [*((0, *matrix.stride())[-3:])]
    assert project.launched["camera.intrinsics"] == intrinsics.data_ptr()
    assert project.launched["camera.width"] == 70 and project.launched["camera.height"] == 33
    assert project.launched["camera.near_plane"] == pytest.approx(view.near)
    assert project.launched["per_view"] == bool(per_view)
    assert project.grid == (1, views) and blend.grid == (15, views)
    for launched, prefix in ((project.launched, ""), (blend.launched, "tiles.")):
        assert launched[f"{prefix}radii"] == radii.data_ptr()
        assert all(launched[prefix + name] == value for name, value in sizes.items())

    # The parts of the workspace lie in it one after another, and both kernels know them alike.
    places = [
        blend.launched[f"tiles.{name}"] - start for name in ("tile_counts", "splats", "lists", "orders")
    ]
    assert (
        places == [project.launched[name] - start for name in ("tile_counts", "splats", "lists")] + places[3:]
    )
    places.append(project.launched["v_rows"] - start)
    lengths = [4 * 15 * views, 48 * 50 * views, *(size * 15 * views * call.capacity for size in (8, 4))]
    lengths.append(48 * 50 * views)
    assert places[0] == 0 and places[1] % 16 == places[2] % 8 == places[4] % 16 == 0
    assert places[4] == call.size
    for place, length, end in zip(places, lengths, [*places[1:], call.size_with_rows], strict=True):
        assert place + length <= end
    for field, tensor in (("image", image), ("depth", depth), ("alpha", alpha)):
        assert blend.launched[f"out.{field}"] == tensor.data_ptr()
    assert blend.launched["background"] == background.data_ptr()
    assert blend.shared <= blend.most_shared
    assert blend.launched["tiles.width"] == 70 and blend.launched["tiles.height"] == 33

    v_image, v_means2d = torch.zeros_like(image), torch.zeros(*batch, 50, 3)
    v_splats = [None if t is None else torch.empty_like(t) for t in drawn]
    v_camera = torch.zeros(views, 16)
    v_images, v_inputs = (v_image, None, None), (*v_splats, v_means2d, v_camera)
    call.backward(head, (image, depth, alpha), radii, workspace, v_images, v_inputs)
    project, blend = kernels["project_backward"].launched, kernels["blend_backward"].launched
    assert blend["v_out.image"] == v_image.data_ptr() and blend["v_out.depth"] == blend["v_out.alpha"] == 0
    assert [blend[f"out.{field}"] for field in ("image", "depth", "alpha")] == [
        t.data_ptr() for t in (image, depth, alpha)
    ]
    for name, tensor in zip(Splats._fields, v_splats):
        assert project[f"v_{name}"] == (0 if tensor is None else tensor.data_ptr())
    assert project["v_rows"] == blend["v_rows"] == start + call.size
    assert project["radii"] == radii.data_ptr()
    assert project["v_means2d"] == v_means2d.data_ptr() and project["columns"] == 3
    assert project["v_camera"] == v_camera.data_ptr()
    assert project["num_views"] == views and project["per_view"] == bool(per_view)
    assert kernels["project_backward"].grid == (1, views if per_view else 1)


def rendered(kernels, leaves: Splats, wanted=()):
    """What cuda.rasterize returns where nothing is drawn, with gradients for the leaves that are named."""
    leaves = Splats(*(None if t is None else t.float() for t in leaves))
    for name in wanted:
        getattr(leaves, name).requires_grad_()
    view = camera()
    view = view._replace(world_to_camera=view.world_to_camera.float(), intrinsics=view.intrinsics.float())
    return leaves, cuda.rasterize(leaves, view, torch.zeros(3))


def test_rows_of_sums_are_cleared_where_there_can_be_a_backward_pass(kernels):
    _, result = rendered(kernels, splats(50))
    assert kernels["project_forward"].launched["v_rows"] == 0 and result.image.grad_fn is None
    with torch.no_grad():
        _, result = rendered(kernels, splats(50), ["opacities"])
    assert kernels["project_forward"].launched["v_rows"] == 0 and result.image.grad_fn is None

    _, result = rendered(kernels, splats(50), ["opacities"])
    cleared = kernels["project_forward"].launched["v_rows"]
    assert cleared and not result.radii.requires_grad
    for _ in range(2):
        result.image.sum().backward(retain_graph=True)
        for name in ("blend_backward", "project_backward"):
            assert kernels[name].launched.pop("v_rows") == cleared


def test_only_wanted_gradients_are_asked_for(kernels):
    leaves, result = rendered(kernels, splats(50), ["opacities", "sh"])
    result.depth.sum().backward()
    launched = kernels["project_backward"].launched
    asked = {field[2:] for field, value in launched.items() if field.startswith("v_") and value}
    assert asked == {"rows", "opacities", "sh"}
    assert leaves.opacities.grad.shape == (50,) and leaves.means.grad is None


def test_second_derivatives_are_refused(kernels):
    leaves, result = rendered(kernels, splats(50), ["opacities"])
    (first,) = torch.autograd.grad(result.image.square().sum(), leaves.opacities, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("wanted", [[], ["means"]])
def test_derivatives_that_are_not_there_are_refused(kernels, wanted):
    """And not silently left out, where no node of autograd would be made."""
    leaves, _ = rendered(kernels, splats(50), wanted)
    view = View(torch.eye(4), torch.ones(4), 45, 34)

    def image(means):
        return cuda.rasterize(leaves._replace(means=means), view, None).image

    means = torch.zeros(50, 3)
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.grad(lambda means: image(means).sum())(means)
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.vmap(image)(means[None])
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="jvp"):
        image(forward_ad.make_dual(means, means))


@pytest.mark.parametrize("num", [10_000, 18_000, 50_000, 100_000])
@pytest.mark.parametrize(("size", "megabytes"), [(512, 25.2), (1024, 100.7)])
def test_first_lists_hold_a_head_and_take_this_much_memory(kernels, num, size, megabytes):
    drawn, view = splats(1, bases=1), camera(size, size)
    drawn = drawn._replace(means=drawn.means.expand(num, 3))
    first = plan.plan_of(drawn, view)
    assert first.capacity == 2048
    assert first.size - first._lists_at == pytest.approx(megabytes * 1e6, rel=0.01)


def test_first_lists_are_short_where_long_ones_would_take_too_much_memory(kernels):
    assert cuda.device_of(0).capacity(50_000, 8192, 1) == 2048
    assert cuda.device_of(0).capacity(50_000, 16384, 1) == 512


def test_lists_grow_once_silently_and_say_so_in_debug(kernels, monkeypatch, capsys):
    it = cuda.device_of(0)

    def overflows(count: int) -> int:
        it._overflow.value = count
        return it.capacity(100_000, 1024, 1)

    assert overflows(2100) == 4096
    # A captured graph keeps its short lists and reports the same again.
    assert overflows(2100) == overflows(2050) == 4096
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("DIFF_GAUSSIAN_RASTERIZATION_DEBUG", "1")
    assert overflows(2100) == 4096 and capsys.readouterr().err == ""
    assert overflows(5000) == 8192
    assert "a tile had 5000 splats" in capsys.readouterr().err


def test_longer_lists_are_another_plan(kernels):
    drawn, view = splats(5000), camera(640, 480)
    before = plan.plan_of(drawn, view)
    assert plan.plan_of(drawn, view) is before
    before.device._overflow.value = 3000
    assert plan.plan_of(drawn, view).capacity > before.capacity


def test_patch_bytes_is_the_size_of_a_warps_stage():
    body = structs_of("blend.cu")["Stage"]
    vectors, words = (int(a) * int(b or 1) for a, b in re.findall(r"\[(\d+)(?: \* (\d+))?\]", body))
    assert 16 * vectors + 4 * words == device.PATCH_BYTES


@pytest.mark.parametrize("num", [0, 1, 300, 10_000, 1_000_000])
@pytest.mark.parametrize("num_tiles", [1, 64, 1024, 16384])
def test_capacity_is_a_power_of_two_that_sorting_can_use(kernels, num, num_tiles):
    it = cuda.device_of(0)
    capacity = it.capacity(num, num_tiles, 2)
    assert capacity & (capacity - 1) == 0
    # A bucket for each thread: tile_list.cuh.
    assert capacity >= device.TILE**2
    assert it.sort_bytes(min(capacity, device.LONGEST_SORT)) <= it.blend_forward.most_shared <= 64 * 1024


@needs_nvrtc
def test_launch_config_is_laid_out_as_the_driver_has_it():
    from cuda.bindings import driver as bindings

    config = bindings.CUlaunchConfig()
    names = ("gridDimX", "gridDimY", "gridDimZ", "blockDimX", "blockDimY", "blockDimZ", "sharedMemBytes")
    for value, name in enumerate(names, 1):
        setattr(config, name, value)
    config.hStream = bindings.CUstream(8)
    size = struct.calcsize(driver.LAUNCH_CONFIG)
    # The arguments follow.
    assert size % 8 == 0
    ours = struct.pack(driver.LAUNCH_CONFIG, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0)
    assert ctypes.string_at(config.getPtr(), size) == ours


class Submissions:
    """Stands in for libcuda: notes what is launched, as the driver would read it."""

    def __init__(self):
        self.launched, self.bound, self.failures = [], [], []

    def cuLaunchKernelEx(self, config, function, parameters, extra):
        status = self.failures.pop() if self.failures else 0
        if not status:
            size = struct.calcsize(driver.LAUNCH_CONFIG)
            values = struct.unpack(driver.LAUNCH_CONFIG, ctypes.string_at(config.value, size))
            arguments = struct.unpack("P2if0P", ctypes.string_at(parameters[0], 24))
            self.launched.append((values, function, arguments, extra))
        return status


@pytest.fixture
def submissions(monkeypatch) -> Submissions:
    library = Submissions()
    monkeypatch.setattr(driver, "driver", lambda: library)
    monkeypatch.setattr(driver, "bind_context", library.bound.append)
    monkeypatch.setattr(driver, "_thread", threading.local())
    return library


def test_launch_hands_grid_stream_and_arguments_to_the_driver(submissions):
    kernel = driver.Kernel(SimpleNamespace(device=3, function=lambda name: name), "some", "P2if0P", 64)
    kernel.launch((5, 2), 2**40, (2**45, -1, True, 0.5), shared=96)
    kernel.launch((1, 1), 0, (0, 0, 0, 0))
    first, second = submissions.launched
    assert first == ((5, 2, 1, 64, 1, 1, 96, 2**40, 0, 0), "some", (2**45, -1, 1, 0.5), None)
    assert second == ((1, 1, 1, 64, 1, 1, 0, 0, 0, 0), "some", (0, 0, 0, 0), None)
    # Once in a thread.
    assert submissions.bound == [3]


def test_launch_without_a_context_binds_one_and_tries_again(submissions):
    kernel = driver.Kernel(SimpleNamespace(device=3, function=lambda name: name), "some", "P2if0P", 64)
    kernel.launch((1, 1), 0, (0, 0, 0, 0))
    submissions.failures = [driver._INVALID_CONTEXT]
    kernel.launch((1, 1), 0, (0, 0, 0, 0))
    assert len(submissions.launched) == 2 and submissions.bound == [3, 3]


def test_error_of_the_driver_is_raised_in_its_words(monkeypatch):
    class Library:
        def cuGetErrorName(self, status, name):
            name._obj.value = b"CUDA_ERROR_OUT_OF_MEMORY"

        def cuGetErrorString(self, status, text):
            text._obj.value = b"out of memory"

    monkeypatch.setattr(driver, "driver", Library)
    driver.check(0)
    with pytest.raises(RuntimeError, match="CUDA_ERROR_OUT_OF_MEMORY: out of memory"):
        driver.check(2)


# --- where it cannot be used


@pytest.fixture
def cuda_build(monkeypatch):
    """A CUDA build of torch with a GPU, as far as the choice of the back-end looks."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    api._cuda_is_available.cache_clear()
    yield torch.device("cuda", 0)
    api._cuda_is_available.cache_clear()


def without_cuda_core(monkeypatch, missing: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cuda"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)


@pytest.mark.parametrize("missing", ["cuda", "cuda.core"])
def test_without_cuda_core_the_reference_stands_in_and_the_pip_line_is_named_once(
    cuda_build, monkeypatch, capsys, missing
):
    if missing == "cuda.core" and importlib.util.find_spec("cuda") is None:
        missing = "cuda"
    without_cuda_core(monkeypatch, missing)
    assert not compiler.is_installed() and not cuda.is_available(cuda_build)
    assert api.choose_backend(cuda_build, None) == api.choose_backend(cuda_build, None) == "reference"
    notice = capsys.readouterr().err
    assert notice.count("\n") == 1 and re.search(r"pip install 'cuda-core\[cu1[23]\]'", notice)
    with pytest.raises(ValueError, match=r"'cuda' needs .*cuda-core \(pip install 'cuda-core"):
        api.choose_backend(cuda_build, "cuda")


def test_package_is_imported_without_cuda_core():
    command = "import sys; sys.modules['cuda'] = None; import diff_gaussian_rasterization.cuda as c; "
    command += "print(c.compiler.is_installed())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, env=environment)
    assert (run.returncode, run.stdout.strip()) == (0, "False"), run.stderr


def test_old_gpu_gets_the_reference(cuda_build, monkeypatch, capsys):
    monkeypatch.setattr(compiler, "is_installed", lambda: True)
    assert api.choose_backend(cuda_build, None) == "cuda"
    api._cuda_is_available.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 0))
    assert api.choose_backend(cuda_build, None) == "reference"
    # It would not help.
    assert "pip install" not in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"compute capability 7\.5"):
        api.choose_backend(cuda_build, "cuda")


def test_cuda_is_refused_for_tensors_on_the_cpu():
    with pytest.raises(ValueError, match=r"backend: 'cuda' needs .* splats\.means is on cpu"):
        rasterize(splats(4), camera(), backend="cuda")
