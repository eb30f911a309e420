"""The formulas of the CUDA kernels, compiled with the host's C compiler, and what compares them with others.

formulas.h and gaussian.h are C99 as well as CUDA C++. A shim of exported functions is compiled twice: in
float, as the kernels compute, and with `float` defined as double, which leaves no rounding that a wrong digit
could hide in: what agrees with float64 to 1e-6 there is the same formula. (Not to 1e-15: constants keep their
24 bits.)
"""

import ctypes
import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diff_gaussian_rasterization import Splats, View
from diff_gaussian_rasterization.cuda import compiler
from diff_gaussian_rasterization.cuda.device import ProjectionKind
from tests.rasterizer.scenes import Scene

SHIM = Path(__file__).with_name("shim.c")


class Formulas:
    """The functions of the shim, on arrays of its precision: what is not an array of it is an int array."""

    def __init__(self, library: ctypes.CDLL, real: type, dtype: type):
        self.library, self.real, self.dtype = library, real, dtype
        for name in ("clamp", "alpha", "step"):
            getattr(library, name).restype = real

    def array(self, values) -> np.ndarray:
        return np.ascontiguousarray(torch.as_tensor(values).detach().double().numpy(), dtype=self.dtype)

    def zeros(self, *shape: int) -> np.ndarray:
        return np.zeros(shape, self.dtype)

    def call(self, name: str, *arguments):
        """Call with arrays as pointers and numbers as reals."""
        passed = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous and argument.dtype in (self.dtype, np.int32)
                passed.append(ctypes.c_void_p(argument.ctypes.data))
            else:
                passed.append(self.real(argument))
        return getattr(self.library, name)(*passed)

    def of(self, name: str, num_out: int, *arguments) -> np.ndarray:
        """Call a function whose last argument is its result."""
        out = self.zeros(num_out)
        self.call(name, *map(self.array, arguments), out)
        return out


class FormulasFor:
    """Compiles the shim, in a folder, each variant once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._compiled = functools.cache(self._compile)

    def __call__(
        self, bases: int = 16, given_cov3d: bool = False, *flags: bool, double: bool = True
    ) -> Formulas:
        """`flags`: antialiased, inverse_depth."""
        return self._compiled(ProjectionKind(bases, given_cov3d, *flags), double)

    def _compile(self, kind: ProjectionKind, double: bool) -> Formulas:
        library = self.folder / f"shim_{'_'.join(str(int(part)) for part in (*kind, double))}.so"
        options = kind.options() | {"DOUBLE": int(double)}
        run_cc(options, "-O1", "-shared", "-fPIC", SHIM, "-o", library, "-lm")
        real, dtype = (ctypes.c_double, np.float64) if double else (ctypes.c_float, np.float32)
        return Formulas(ctypes.CDLL(str(library)), real, dtype)

    def of(self, scene: Scene, double: bool = True) -> Formulas:
        drawn, view = scene.splats, scene.view
        flags = view.antialiased, view.inverse_depth
        bases = 0 if drawn.sh is None else drawn.sh.shape[1]
        return self(bases, drawn.cov3d is not None, *flags, double=double)


def run_cc(options: dict[str, int], *arguments: str | Path) -> None:
    """Compile strict C99 against the kernels' headers; anything to complain of fails the test."""
    defined = [f"-D{name}={value}" for name, value in compiler.macros(options).items()]
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    strict += ["-Wno-unused-parameter", "-Wno-unused-function"]
    run = ["cc", *strict, *defined, f"-I{compiler.KERNELS}", *arguments]
    result = subprocess.run(run, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def gaussian_rows(drawn: Splats) -> Tensor:
    """The struct Gaussian of each, [N, ...]."""
    shape = [drawn.cov3d] if drawn.cov3d is not None else [drawn.scales, drawn.rotations]
    color = drawn.colors if drawn.sh is None else drawn.sh.flatten(1)
    return torch.cat([drawn.means, drawn.opacities[:, None], *shape, color], 1)


def camera_row(view: View) -> Tensor:
    """The struct Camera."""
    matrix = view.world_to_camera
    sizes = matrix.new_tensor([view.width, view.height, view.near])
    return torch.cat([matrix[:3, :3].flatten(), matrix[:3, 3], view.intrinsics, sizes])


def rounded(scene: Scene) -> Scene:
    """The scene, its values rounded to float32: the same numbers for every precision."""
    drawn = Splats(*(None if t is None else t.float().double() for t in scene.splats))
    view = scene.view
    view = view._replace(
        world_to_camera=view.world_to_camera.float().double(), intrinsics=view.intrinsics.float().double()
    )
    return scene._replace(splats=drawn, view=view)


def project_all(c: Formulas, scene: Scene):
    """Return visible [N], splats [N, 12], half widths and heights [N, 2] and radii [N]."""
    rows, view = c.array(gaussian_rows(scene.splats)), c.array(camera_row(scene.view))
    num = len(rows)
    out, half, radii = c.zeros(num, 12), c.zeros(num, 2), np.zeros((num, 1), np.int32)
    visible = [c.call("project", rows[i], view, out[i], half[i], radii[i]) for i in range(num)]
    return np.array(visible, bool), out.astype(float), half.astype(float), radii[:, 0]


def assert_close(value, truth, tolerance: float, scale: float | None = None) -> None:
    """Within `tolerance` of `scale`, by default the largest of the truth."""
    value, truth = np.asarray(value, float), np.asarray(truth, float)
    assert value.shape == truth.shape and np.isfinite(value).all()
    if truth.size:
        np.testing.assert_allclose(
            value, truth, rtol=0, atol=tolerance * (scale or max(np.abs(truth).max(), 1e-12))
        )


def differences(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The gradient of v . f(x), by central differences."""
    gradient = np.zeros_like(x)
    for i in range(x.size):
        step = np.zeros_like(x)
        step[i] = 1e-6 * max(1.0, abs(x[i]))
        gradient[i] = v @ (f(x + step) - f(x - step)) / (2 * step[i])
    return gradient


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)
