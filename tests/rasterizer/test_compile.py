"""The CUDA back-end where there is no GPU: its kernels compile, and have a stand-in where their compiler is
missing."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
import torch

from diff_gaussian_rasterization import api, cuda, rasterize
from diff_gaussian_rasterization.cuda import compiler
from tests.rasterizer.scenes import camera, splats
from tests.rasterizer.sources import OPTIONS, needs_nvrtc

CAPABILITIES = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (12, 0)]


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
            # blend_backward: 4 bytes, which nobody notices; of inverse depths 40 (NVRTC 13.0) or 16 (13.5)
            assert max(map(int, spilled)) <= (48 if options.get("INVERSE_DEPTH") else 8), report


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
