"""Run the CUDA kernels under NVIDIA's compute-sanitizer: memcheck, racecheck and synccheck.

Draws test scenes forward and backward (one that overflows its tiles' lists, a batch of views), the fused
SSIM, and takes a head through its kernels, with a step of Adam, and one of the published code; every tool's
closing line is printed. Exit code 1 where a tool has found an error.

usage: sanitizer.py [--tools memcheck racecheck]
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("memcheck", "racecheck", "synccheck")
# Exit code of the sanitizer where it has found something.
FOUND = 86
SCENES = ("degree 3", "cov3d and colors", "needles", "opaque stack", "part behind the camera")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tools", nargs="+", default=TOOLS, help="tools to run (default: %(default)s)")
    # What runs under the tools.
    parser.add_argument("--draw", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draw:
        draw()
        return
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        raise SystemExit("benchmarks/sanitizer.py: needs compute-sanitizer, of the CUDA toolkit")
    failed = [tool for tool in options.tools if not is_clean(sanitizer, tool)]
    sys.exit(1 if failed else 0)


def is_clean(sanitizer: str, tool: str) -> bool:
    """Run one tool over `draw`; print its report and return whether it found nothing."""
    command = [sanitizer, "--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "5"]
    command += [sys.executable, __file__, "--draw"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    report = [line for line in result.stdout.splitlines() if line.startswith("=====")]
    print(f"{tool}: exit code {result.returncode}", *report[-12:], sep="\n  ", flush=True)
    if result.returncode not in (0, FOUND):
        print(result.stdout[-2000:])
    return result.returncode == 0


def draw() -> None:
    """Use every kernel once or more."""
    submodules = ROOT / "submodules"
    sys.path[:0] = [
        str(ROOT),
        str(submodules / "diff-gaussian-rasterization"),
        str(submodules / "simple-knn"),
    ]
    import torch

    from diff_gaussian_rasterization import Splats, View, rasterize
    from diff_gaussian_rasterization.cuda import device
    from diff_gaussian_rasterization.cuda.ssim import ssim
    from scene import fused
    from scene.views import Drive
    from tests.rasterizer.scenes import camera, scenes, splats
    from tests.scene.fused.test_splats import SIZES, make_scaffold_head, some_drives
    from tests.scene.heads import make_optimizer

    def step(drawn: Splats, view: View) -> None:
        leaves = Splats(*(None if t is None else t.cuda().float().requires_grad_() for t in drawn))
        pose = view.world_to_camera.cuda().float().requires_grad_()
        there = view._replace(world_to_camera=pose, intrinsics=view.intrinsics.cuda().float())
        result = rasterize(leaves, there, torch.rand(3, device="cuda"))
        (result.image.square().sum() + result.depth.sum() + result.alpha.square().sum()).backward()

    for name in SCENES:
        scene = scenes()[name]()
        step(scene.splats, scene.view)
        step(scene.splats, scene.view._replace(antialiased=True, inverse_depth=True))
    view = camera(64, 48)
    several = view.world_to_camera.repeat(3, 1, 1)
    several[:, 0, 3] += torch.tensor([0.0, 0.1, -0.1])
    batch = view._replace(world_to_camera=several, intrinsics=view.intrinsics.repeat(3, 1))
    step(splats(300), batch)
    # More on a tile than its list holds.
    device.device_of(0).capacity = lambda *_: 256
    step(splats(900, size=0.6), camera(200, 130))

    image = torch.rand(3, 37, 50, device="cuda", requires_grad=True)
    ssim(image, torch.rand(3, 37, 50, device="cuda")).mean().backward()

    for deforms in (False, True):
        head = make_scaffold_head(700, **SIZES).float().cuda()
        head.deforms = deforms
        drives = [
            Drive(*(None if t is None else t.float().cuda() for t in drive)) for drive in some_drives(head)
        ]
        assert fused.applies(head, drives)
        sum(part.square().sum() for part in head.views([], drives) if part is not None).backward()
        make_optimizer(head).step()
        head.confine_()
    draw_published()
    torch.cuda.synchronize()


def draw_published() -> None:
    """Heads of the published code."""
    import tempfile

    from scene import published_kernels
    from tests.scene.test_published_kernels import make_head, some_views

    for deforms in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            head = make_head(Path(folder), 150, deforms).cuda()
        cameras, expressions = some_views(2, "cuda")
        assert published_kernels.applies(head, cameras, expressions)
        published_kernels.driven_splats(head, cameras, expressions)


if __name__ == "__main__":
    main()
