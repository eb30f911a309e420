"""Time what train.py does from the command to its first iterations; options are those of train.py.

    python benchmarks/startup.py -s data/id1 -m output/startup --overwrite --eval

Prints each phase as it ends, and the modules that take longest to import (in a process of their own, which
also warms the disk's cache).
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

LEAST_SECONDS, MOST_MODULES = 0.1, 25
PHASES = ("open_data", "fitted_head_of", "scaffold_start_on", "fresh_state", "augmentation_for")
ITERATIONS = 10


def main(argv: list[str] | None = None) -> None:
    show_imports()
    clock = time.perf_counter
    begun = last = clock()

    def mark(name: str) -> None:
        nonlocal last
        print(f"{clock() - begun:7.2f} s {clock() - last:7.2f} s  {name}", flush=True)
        last = clock()

    print("\n  since the command, of it the phase")
    from arguments import parse_train_args
    from utils.startup import prepare_environment

    config = parse_train_args(argv)
    prepare_environment(blas_threads=1)
    mark("options")
    import torch

    mark("import torch")
    from training import start

    mark("import training.start")
    if torch.cuda.is_available():
        torch.zeros(1, device="cuda")
        mark("CUDA context")
    for name in PHASES:
        setattr(start, name, timed(getattr(start, name), name, mark))
    with start.begin(config) as session:
        mark("the rest of begin")
        for iteration in range(1, ITERATIONS + 1):
            session.state.optimizer.set_learning_rates(iteration)
            session.step(session.next_views(), False).loss.item()
            session.state.after_step_(iteration)
            if iteration in (1, 2, 3, ITERATIONS):
                mark(f"iteration {iteration}")
        for position in range(len(session.data.train)):
            session.data.train[position]
        mark("all training frames decoded")
        from benchmarks.measuring import header

        camera = session.data.train.cameras[0]
        what = f"{len(session.data.train)} frames, {camera.width} x {camera.height}"
        print(header(session.data.background.device, what))


def timed(function, name: str, mark):
    def run(*args, **kwargs):
        result = function(*args, **kwargs)
        mark(name)
        return result

    return run


def show_imports() -> None:
    """Modules by the time that importing them takes, with all that they import."""
    command = [sys.executable, "-X", "importtime", "-c", "import training.start"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line.split("|") for line in done.stderr.splitlines() if line.count("|") == 2][1:]
    slow = sorted(((int(total) / 1e6, name) for _, total, name in rows), reverse=True)
    print("imports, s:")
    for seconds, name in slow[:MOST_MODULES]:
        if seconds >= LEAST_SECONDS:
            print(f"{seconds:7.2f}  {name.strip()}")


if __name__ == "__main__":
    main()
