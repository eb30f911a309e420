"""A training run of a second, in which everything happens, for tests that stop it somewhere."""

from collections.abc import Sequence
from pathlib import Path

import train
from arguments import load_config
from tests.test_train_and_render import ITERATIONS, TINY, model_tensors
from utils.checkpoint import list_iterations, load_checkpoint
from utils.files import replacing
from utils.json_files import read_json
from utils.ply import load_ply


def arguments(clip: Path, model: Path, *flags: str) -> list[str]:
    """The command line of a run with a checkpoint in its middle."""
    own = ["--checkpoint_iterations", "6", "12", "18", "--iterations", str(ITERATIONS)]
    return ["-s", str(clip), "-m", str(model), *TINY, *own, *flags]


def run(clip: Path, model: Path, *flags: str) -> int:
    """Train here; the exit code."""
    return exit_code(arguments(clip, model, *flags))


def exit_code(argv: list[str]) -> int:
    """Of train.py with this command line, run here."""
    try:
        train.main(argv)
    except SystemExit as ending:
        return ending.code
    except KeyboardInterrupt:
        return 130
    return 0


def blank_curves(path: str | Path, losses: Sequence, scores: Sequence) -> None:
    """In place of `plot_training`, which is more than half of so short a run; saved in the same steps."""
    with replacing(path) as partial:
        Path(partial).write_bytes(b"no picture")


def damaged_files(model: Path) -> list[str]:
    """What in a run's folder has its final name and cannot be read."""
    readers = {
        "checkpoints/*": load_checkpoint,
        "model/*": load_checkpoint,
        "point_cloud/*/*": load_ply,
        "config.json": load_config,
        "results.json": read_json,
        "eval/curves.json": read_json,
    }
    bad = []
    for pattern, read in readers.items():
        for path in model.glob(pattern):
            if path.name.startswith("."):
                continue
            try:
                read(path)
            except Exception as error:
                bad.append(f"{path.relative_to(model)}: {error!r}")
    return bad


def leftovers(model: Path) -> list[Path]:
    """Temporary files of processes that were killed."""
    return list(model.rglob(".*.part*"))


def checkpoints(model: Path) -> list[int]:
    return list_iterations(model / "checkpoints")


def same_model(first: Path, second: Path) -> bool:
    """Whether two runs ended with the same weights, bit for bit."""
    a, b = model_tensors(first), model_tensors(second)
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)
