"""Time the rasterizer's CPU back-end against its reference on a head-like cloud of Gaussians.

First compares the two, then prints median milliseconds of forward and of forward + backward, both with
projection and sort, and how many times faster `cpu` is. Every timed call draws a cloud moved a little from
the call before.

usage: rasterizer_cpu.py [--gaussians 10000] [--size 256] [--threads N] [--skip-reference]
"""

import argparse


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gaussians", type=int, default=10_000, help="number of Gaussians (default: 10000)")
    parser.add_argument("--size", type=int, default=256, help="width and height in pixels (default: 256)")
    parser.add_argument("--threads", type=int, help="threads of torch and of the back-end (default: torch's)")
    parser.add_argument("--repeats", type=int, default=50, help="timed calls of cpu (default: 50)")
    parser.add_argument("--skip-reference", action="store_true", help="time only the cpu back-end")
    options = parser.parse_args()
    if options.gaussians < 1 or options.size < 1 or options.repeats < 1:
        parser.error("--gaussians, --size and --repeats must be at least 1")
    run(options)


def run(options: argparse.Namespace) -> None:
    import os
    import platform

    import numba
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load {load:.1f}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, numba {numba.__version__}"
    )
    print(f"{options.gaussians} Gaussians, SH degree 3, {options.size}x{options.size}", flush=True)
    scene = HeadCloud(options.gaussians, options.size)
    # Compiles, or loads the compiled kernels.
    scene.step("cpu")

    cpu = scene.time("cpu", options.repeats)
    rows = [("cpu", cpu)]
    if not options.skip_reference:
        print("comparing with the reference (some seconds) ...", flush=True)
        compare(scene)
        print("timing the reference (some seconds) ...", flush=True)
        rows.append(("reference", scene.time("reference", 3)))
    print(f"{'back-end':<10} {'forward':>20} {'forward + backward':>20}   median ms (fastest)")
    for name, times in rows:
        print(f"{name:<10}", *(f"{median:>10.1f} ({best:.1f})".rjust(20) for median, best in times))
    if len(rows) == 2:
        ratios = [slow[1] / fast[1] for fast, slow in zip(cpu, rows[1][1])]
        print(f"{'ratio':<10}", *(f"{ratio:>18.0f} x" for ratio in ratios), "  of the fastest")


class HeadCloud:
    """An ellipsoid shell of anisotropic Gaussians, dense like a head's skin, that fills most of the image."""

    def __init__(self, num: int, size: int):
        import torch

        from diff_gaussian_rasterization import Splats, View

        generator = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(*shape, generator=generator)

        direction = torch.nn.functional.normalize(normal(num, 3), dim=1)
        means = direction * (0.5 + 0.02 * normal(num, 1)) * torch.tensor([0.75, 1.0, 0.85])
        spacing = (4 * torch.pi * 0.25 * 0.8 / num) ** 0.5
        splats = Splats(
            means=means,
            scales=0.9 * spacing * torch.exp(0.35 * normal(num, 3)),
            rotations=torch.nn.functional.normalize(normal(num, 4), dim=1),
            opacities=torch.sigmoid(1.0 + 1.5 * normal(num, 1)),
            sh=0.3 * normal(num, 16, 3) / torch.arange(1, 17).view(1, 16, 1),
        )
        self.leaves = Splats(*(None if t is None else t.requires_grad_() for t in splats))
        world_to_camera = torch.diag(torch.tensor([1.0, -1, -1, 1]))
        world_to_camera[2, 3] = 2.4
        focal = 1.8 * size
        self.view = View(world_to_camera, torch.tensor([focal, focal, size / 2, size / 2]), size, size)
        self.background = torch.ones(3)
        self.weights = normal(3, size, size)
        self.means2d = torch.zeros(num, 2, requires_grad=True)
        self.shift = 0.0

    def forward(self, backend: str):
        from diff_gaussian_rasterization import rasterize

        splats = self.leaves._replace(means=self.leaves.means + self.shift)
        return rasterize(splats, self.view, self.background, means2d=self.means2d, backend=backend)

    def step(self, backend: str) -> dict:
        """Render, back-propagate, and return the gradients."""
        leaves = {name: t for name, t in self.leaves._asdict().items() if t is not None}
        leaves["means2d"] = self.means2d
        for leaf in leaves.values():
            leaf.grad = None
        self.forward(backend).image.backward(self.weights)
        return {name: leaf.grad for name, leaf in leaves.items()}

    def time(self, backend: str, repeats: int) -> list[tuple[float, float]]:
        """Return (median, fastest) milliseconds of forward, and of forward and backward."""
        import torch

        with torch.no_grad():
            forward = self._times(lambda: self.forward(backend), repeats)
        return [forward, self._times(lambda: self.step(backend), repeats)]

    def _times(self, call, repeats: int) -> tuple[float, float]:
        import statistics
        import sys
        import time

        warm_up = max(1, repeats // 10)
        times = []
        began = time.perf_counter()
        for k in range(warm_up + repeats):
            self.shift = 1e-3 * (k % 7)
            start = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - start))
            if time.perf_counter() - began > 2:
                print(f"\r{k + 1} of {warm_up + repeats} calls ", end="", file=sys.stderr, flush=True)
        self.shift = 0.0
        print("\r" + " " * 24 + "\r", end="", file=sys.stderr, flush=True)
        return statistics.median(times[warm_up:]), min(times[warm_up:])


def compare(scene: HeadCloud) -> None:
    """Print how far the two back-ends' images and gradients lie apart."""
    import torch

    with torch.no_grad():
        image, truth = (scene.forward(backend).image for backend in ("cpu", "reference"))
    difference = (image - truth).abs()
    print(f"image: largest difference {difference.max():.1e}, pixels off by more than 1e-4: "
          f"{(difference > 1e-4).any(0).float().mean():.3%}")  # fmt: skip
    gradients, truth = scene.step("cpu"), scene.step("reference")
    errors = (
        f"{name} {(gradients[name] - truth[name]).norm() / truth[name].norm():.1e}" for name in gradients
    )
    print("gradients, relative error:", ", ".join(errors), flush=True)


def processor() -> str:
    import platform
    from pathlib import Path

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
