"""From CUDA C++ to machine code: NVRTC through `cuda-core`, and a cache of its results on disk.

A cached file is named after everything that decides its content (sources, architecture, macros, versions, and
this file for its options) and begins with its own checksum: whatever is not as it was written is compiled
again. The folder is $DIFF_GAUSSIAN_RASTERIZATION_CACHE, else one of that name in the user's cache; where it
cannot be written, every process compiles for itself.
"""

import hashlib
import importlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from .. import constants

KERNELS = Path(__file__).parent / "kernels"
THRESHOLDS = ("ALPHA_MIN", "ALPHA_MAX", "DILATION", "FRUSTUM_MARGIN", "TRANSMITTANCE_MIN")
LEAST_CAPABILITY = (7, 5)


def is_installed() -> bool:
    """Return whether there is `cuda-core`, which compiles, and the NVRTC library that it calls."""
    try:
        if importlib.util.find_spec("cuda.core") is None:
            return False
    except ModuleNotFoundError:
        return False
    from cuda.bindings import nvrtc

    try:
        # Loads it.
        nvrtc.nvrtcVersion()
    except RuntimeError:
        return False
    return True


def load() -> None:
    """Import what compiles; once, before threads do."""
    importlib.import_module("cuda.core")


def macros(options: Mapping[str, int | str]) -> dict[str, str]:
    """Return what is defined when compiling: the thresholds of constants.py, and `options`."""
    thresholds = {name: f"{float(getattr(constants, name))!r}f" for name in THRESHOLDS}
    return thresholds | {name: str(value) for name, value in options.items()}


def machine_code(source: str | Path, capability: tuple[int, int], options: Mapping[str, int | str]) -> bytes:
    """Return the compiled form (cubin) of one of the files in kernels/, from the cache where it is there.

    `source` may be a file elsewhere; what it includes lies beside it.
    """
    source = KERNELS / source
    folder = cache_folder()
    path = folder / f"{_key(source, capability, options)}.cubin"
    code = _read(path)
    if code is None:
        text = (
            f"diff_gaussian_rasterization: compiling {source.name} for the GPU (once; cached in {folder}) ..."
        )
        timer = threading.Timer(2.0, print, (text,), {"file": sys.stderr, "flush": True})
        timer.start()
        try:
            code, _ = compile_source(source, capability, options)
        finally:
            timer.cancel()
        _write(path, code)
    return code


def compile_source(
    source: str | Path, capability: tuple[int, int], options: Mapping[str, int | str]
) -> tuple[bytes, str]:
    """Compile without the cache; return the cubin and the assembler's report (registers, spills)."""
    import io

    from cuda.core import Program, ProgramOptions

    source = KERNELS / source
    arguments = ProgramOptions(
        name=source.name,
        arch="sm_{}{}".format(*capability),
        std="c++17",
        include_path=str(source.parent),
        define_macro=list(macros(options).items()),
        # NVRTC 13.0 wants it said of lambdas.
        device_as_default_execution_space=True,
        ptxas_options=["-v"],
    )
    report = io.StringIO()
    program = Program(source.read_text(), "c++", arguments)
    return bytes(program.compile("cubin", logs=report).code), report.getvalue()


def cache_folder() -> Path:
    """Return the folder of compiled kernels; it need not exist."""
    chosen = os.environ.get("DIFF_GAUSSIAN_RASTERIZATION_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        try:
            base = Path("~/.cache").expanduser()
        except RuntimeError:
            # A user without a home.
            base = tempfile.gettempdir()
    return Path(base) / "diff_gaussian_rasterization"


def _key(source: Path, capability: tuple[int, int], options: Mapping[str, int | str]) -> str:
    from cuda.bindings import nvrtc

    parts = [source.name, str(capability), str(sorted(macros(options).items()))]
    parts += [metadata.version("cuda-core"), str(nvrtc.nvrtcVersion())]
    for path in (Path(__file__), *sorted(source.parent.iterdir())):
        parts += [path.name, path.read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, code = content[:32], content[32:]
    return code if code and hashlib.sha256(code).digest() == checksum else None


def _write(path: Path, code: bytes) -> None:
    """Write all or nothing: other processes may read and write the same file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.replace(temporary, path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
    except OSError:
        # The folder cannot be written: compiled for this process alone.
        return
