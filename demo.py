"""Train an avatar on the bundled clip and show what came out: python demo.py [--minutes 2]

Three commands, each printed before it runs, so that you can type them with a folder of your own: train.py,
then render.py for the frames kept out of training and, meanwhile, for a camera that swings around the head.
`make demo` runs this in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from pathlib import Path

from tools import processes

ROOT = Path(__file__).resolve().parent
# For starting, compiling, reading the clip, scores, rendering and videos, on 2 cores; training gets the rest,
# and never less than that share.
OTHER_MINUTES, LEAST_SHARE = 0.7, 0.4


def main() -> int:
    options = parse_arguments()
    started = time.monotonic()
    for together in commands(options):
        print()
        for command in together:
            print(f"$ python {shlex.join(command)}", flush=True)
        statuses = processes.run_together([[sys.executable, *command] for command in together], cwd=ROOT)
        for (script, *_), status in zip(together, statuses):
            if status != 0:
                print(f"error: the demo stopped, {script} ended with exit code {status}", file=sys.stderr)
                return status
    print_results(ROOT / options.output, seconds=time.monotonic() - started)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--minutes", type=float, default=2.0, help="time for all of it, on 2 CPU cores or more (default: 2)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: auto, CUDA where usable)")
    add("--source", type=Path, default=Path("data/demo"), help="folder of the clip (default: data/demo)")
    add(
        "--output",
        type=Path,
        default=Path("output/demo"),
        help="folder of the results, replaced (default: output/demo)",
    )
    options = parser.parse_args()
    if not 0 < options.minutes < float("inf"):
        parser.error(f"argument --minutes: expected a positive number, found {options.minutes:g}")
    return options


def commands(options: argparse.Namespace) -> list[list[list[str]]]:
    """The command lines of the demo, as a user would type them; those in one list run at the same time."""
    source, output, device = str(options.source), str(options.output), ["--device", options.device]
    minutes = max(LEAST_SHARE * options.minutes, options.minutes - OTHER_MINUTES)
    training = ["train.py", "-s", source, "-m", output, "--eval", "-w", "--preset", "quick"]
    return [
        [[*training, "--max_minutes", f"{minutes:.3g}", "--overwrite", *device]],
        [
            # It ends first; two bars would overwrite each other.
            ["render.py", "-m", output, "--skip_train", "--quiet", *device],
            ["render.py", "-m", output, "--novel_view", *device],
        ],
    ]


def print_results(output: Path, seconds: float) -> None:
    print(f"\nDone in {seconds // 60:.0f} min {seconds % 60:.0f} s.")
    for metrics_file in newest(output, "test/ours_*/metrics.json"):
        metrics = json.loads(metrics_file.read_text(encoding="utf-8"))
        mean = metrics["mean"]
        print(f"On the {metrics['num_views']} frames kept out of training:", end=" ")
        print(f"PSNR {mean['psnr']:.2f} dB, SSIM {mean['ssim']:.4f}")
    shown = {
        "truth | render": newest(output, "test/ours_*/video.mp4"),
        "novel view": newest(output, "novel_view/ours_*/video.mp4"),
        "rendered frames": newest(output, "test/ours_*/renders"),
        "contact sheet": newest(output, "eval/test_*.png"),
        "training curves": newest(output, "eval/curves.png"),
        "splats (PLY)": newest(output, "point_cloud/iteration_*/point_cloud.ply"),
    }
    for name, paths in shown.items():
        for path in paths:
            print(f"  {name:16} {os.path.relpath(path)}")


def newest(folder: Path, pattern: str) -> list[Path]:
    """The path that matches and was written last, as a list of at most one."""
    return sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)[-1:]


if __name__ == "__main__":
    sys.exit(main())
