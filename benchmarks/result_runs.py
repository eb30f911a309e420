"""One run of benchmarks/results.py: train, render, score, each as a user would, on the machinery of fleet.py.

FOLDER/benchmark/state.json says what was done with which commands, log.txt beside it what they printed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fleets.stages import ROOT, Plan, Stage
from fleets.state import outlook


class Run(NamedTuple):
    """One training run of the table; the stages of its plan train, render and score."""

    source: Path
    row: str
    seed: int
    plan: Plan

    def __str__(self) -> str:
        return self.plan.name

    @property
    def is_complete(self) -> bool:
        return outlook(self.plan).stage is None


def run_of(
    source: Path, row: str, seed: int, table: Path, train_flags: Sequence[str], metrics_flags: Sequence[str]
) -> Run:
    """A run on the clip `source`, in the folder of a table."""
    folder = table / source.name / row / f"seed_{seed}"
    stages = (
        Stage("train", ("train.py", "-s", str(source), "-m", str(folder), *train_flags, "--seed", str(seed))),
        Stage("render", ("render.py", "-m", str(folder), "--skip_train")),
        Stage("score", ("metrics.py", "-m", str(folder), *metrics_flags)),
    )
    name = f"{source.name} {row} seed {seed}"
    return Run(source, row, seed, Plan(name, folder / "benchmark", source, folder, stages, ROOT))
