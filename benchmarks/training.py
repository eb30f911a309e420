"""Time the iterations of a training run and its evaluations; options are those of train.py.

    python benchmarks/training.py -s data/id1 -m output/speed --overwrite --eval --preset quick -r 256

Runs the loop of train.py for some hundred iterations from its start, deforming from the first one on; what
comes before them times benchmarks/startup.py. The parts of an iteration are waited for, one by one; then as
many iterations run as they do in training. The second evaluation has its frames decoded.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Iterations, on a GPU and on a CPU.
WARM_UP, MEASURED = {"cuda": 60, "cpu": 10}, {"cuda": 300, "cpu": 50}


def main(argv: list[str] | None = None) -> None:
    from arguments import parse_train_args
    from utils.startup import prepare_environment

    config = parse_train_args(argv)
    prepare_environment(blas_threads=1)
    from training.start import begin

    with begin(config) as session:
        run(session)


def run(session) -> None:
    import torch

    from benchmarks.measuring import Times, header, synchronize

    device, head = session.data.background.device, session.state.head
    warm_up, measured = WARM_UP[device.type], MEASURED[device.type]
    rows = {"next views": [], "step": [], "iteration, waited for": []}
    for iteration in range(1, warm_up + measured + 1):
        synchronize(device)
        start = time.perf_counter()
        views = next_views(session, iteration)
        synchronize(device)
        seen = time.perf_counter()
        session.step(views, session.state.densifier.observes(iteration))
        synchronize(device)
        stepped = time.perf_counter()
        session.state.after_step_(iteration)
        if iteration > warm_up:
            for row, seconds in zip(rows.values(), (seen - start, stepped - seen, stepped - start)):
                row.append(seconds)
    start = time.perf_counter()
    for iteration in range(warm_up + measured + 1, warm_up + 2 * measured + 1):
        session.step(next_views(session, iteration), session.state.densifier.observes(iteration))
        session.state.after_step_(iteration)
    synchronize(device)
    free_running = (time.perf_counter() - start) / measured
    frames, preset = session.data.train, session.config.run.preset
    what = f"{len(head.gaussians)} Gaussians, {frames.width} x {frames.height}, {len(frames)} frames"
    print(header(device, f"preset {preset}: {what}; {measured} iterations after {warm_up}"))
    print(f"{'':32} median ms    p99 ms        /s")
    for name, seconds in rows.items():
        times = Times.of(seconds)
        print(f"{name:32} {times} {1e3 / times.median:9.0f}")
    print(f"{'iteration, the loop as it is':32} {1e3 * free_running:9.2f} {'':9} {1 / free_running:9.0f}")
    images = session.config.optimization.views_per_step / free_running
    print(f"{'images with gradient':32} {'':9} {'':9} {images:9.0f}")
    for round_ in ("first", "second"):
        start = time.perf_counter()
        session.evaluate()
        print(f"{round_ + ' evaluation':32} {1e3 * (time.perf_counter() - start):9.0f}")
    if device.type == "cuda":
        print(f"peak GPU memory {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GB")


def next_views(session, iteration: int):
    """What train.py does before a step. Deforms from the first iteration on: warm-up is not what costs."""
    state = session.state
    if state.before_step_(iteration):
        session.step.forget()
    state.optimizer.set_learning_rates(iteration)
    state.head.deforms = True
    return session.next_views()


if __name__ == "__main__":
    main()
