"""Train, render and score the rows of a table of docs/results.md, and print it: mean and spread over seeds.

    python benchmarks/results.py --clips data/obama data/macron --test_frames 50 60
    python benchmarks/results.py --clips data/obama --table ablation --only base derivations_1 --jobs 4

A row is a name and flags of train.py; add rows below. The runs lie in OUT/TABLE/CLIP/ROW/seed_N. What is
complete is not run again, what was interrupted goes on; with other flags a run begins anew. Runs side by side
share the GPUs and the cores, as rows of fleet.py do. Rows that a clip has no data for are left out, with a
line. OUT/TABLE/results.md and results.json hold what was printed, and the scores of every run; to repeat a
run, remove its folder.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from arguments import TrainConfig, parse_train_args
from arguments.parser import Parser
from arguments.schedule import RESCALED_OPTIONS, option_values
from benchmarks.result_runs import Run, run_of
from benchmarks.result_table import summary, write_results
from benchmarks.turned import as_text, by_yaw, score_run
from fleets.board import Board
from fleets.engine import run_engine
from fleets.local import LocalEngine, find_devices
from fleets.rows import parsed
from fleets.state import FAILED, forget_failure, outlook
from scene.dataset_readers import read_transforms
from scoring.grouping import YAW_EDGES
from utils.errors import UserError, exit_on_user_error
from utils.files import write_text
from utils.json_files import read_json


class Table(NamedTuple):
    """Rows, flags that all of them share, and the set that is scored: every choice is made on val."""

    scored: str
    flags: str
    rows: dict[str, str]
    # Whether the held-out frames are also scored by how far the head is turned, into turned.md.
    by_yaw: bool = False


DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
# Choices are made on 40 frames that leave training.
CHOICES = "-w --eval --val_frames 40"
# The deformation field of preset quick can do without blendshapes.
FIELD = "--deformation_depth 4 --deformation_width 64"
# All milestones of the 80,000 iterations of preset paper: given, they do not follow --iterations.
MILESTONES = " ".join(
    f"--{name} {value}"
    for name, value in option_values(TrainConfig()).items()
    if name in RESCALED_OPTIONS and not isinstance(value, tuple)
)
BEGINNING_OF_PAPER = f"--iterations 5801 {MILESTONES} --test_iterations 4000 5000 5800"
TABLES = {
    "main": Table(
        scored="test",
        flags="-w --eval",
        rows={
            "head": "--only_head",
            "whole": "",
            "tracked": "--torso_tracking",
            "paper_head": "--preset paper --only_head",
            "paper_whole": "--preset paper",
        },
    ),
    "ablation": Table(
        scored="val",
        flags=f"{CHOICES} --only_head",
        # The base has 4 derivations and a tri-plane of 64 x 64 with 32 channels.
        rows={
            "base": "",
            "derivations_1": "--num_derivations 1",
            "derivations_2": "--num_derivations 2",
            "derivations_8": "--num_derivations 8",
            "tau_fixed": "--tau_lr_init 0 --tau_lr_final 0",
            "tau_flat": "--flat_tau",
            "tau_fresh": "--fresh_tau",
            "triplane_128": "--triplane_resolution 128",
            "no_blendshapes": f"--num_blendshapes 0 {FIELD}",
            "no_blendshapes_derivations_1": f"--num_blendshapes 0 {FIELD} --num_derivations 1",
        },
    ),
    # Beside the published code, which is best between 4,000 and 5,800 iterations.
    "paper": Table(
        scored="test",
        flags=f"-w --eval --preset paper --lambda_vgg 0 {BEGINNING_OF_PAPER}",
        rows={
            "head": "--only_head",
            "head_size_rule": "--only_head --max_screen_size 20",
            "head_no_reset": "--only_head --opacity_reset_interval 100000",
            # Nothing deforms.
            "head_still": "--only_head --warm_up 100000",
            "whole": "",
            "whole_no_reset": "--opacity_reset_interval 100000",
        },
    ),
    "sides": Table(
        scored="val",
        flags=CHOICES,
        rows={
            "head": "--only_head",
            "head_outside_0": "--only_head --lambda_outside 0",
            "head_outside_0.3": "--only_head --lambda_outside 0.3",
            "whole": "",
            "whole_outside_0": "--lambda_outside 0",
            "whole_outside_0.3": "--lambda_outside 0.3",
        },
    ),
    # Clips whose last frames turn farther than the others.
    "turned": Table(
        scored="test", flags="-w --eval", rows={"scaffold": "", "floating": "--no-scaffold"}, by_yaw=True
    ),
    "torso": Table(
        scored="val",
        flags=CHOICES,
        rows={
            "base": "",
            "no_prediction": "--no-torso_prediction",
            "no_membership": "--no-torso_prediction --no-torso_membership",
        },
    ),
}
# What a row needs of the data: a flag, and what must be there.
NEEDS = {"--only_head": "parsing/", "--torso_tracking": "torso_transform"}


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    options = parse_arguments(argv)
    table, folder = TABLES[options.table], options.out / options.table
    runs = [run for source in options.clips for run in runs_of(source, table, options)]
    print(f"{len(runs)} runs, {sum(run.is_complete for run in runs)} of them complete", flush=True)
    interruption = make(runs, options, table, folder)
    if interruption:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return interruption
    failures = {run: state for run in runs if (state := outlook(run.plan)).status == FAILED}
    for run, state in failures.items():
        print(f"{run}: FAILED, {state.line} ({run.plan.log})", file=sys.stderr)
    print(write_results(folder, runs, table.scored))
    if table.by_yaw:
        print(write_by_yaw(folder, [run for run in runs if run.is_complete]))
    return int(bool(failures))


def make(runs: list[Run], options: argparse.Namespace, table: Table, folder: Path) -> int:
    """Do what is not complete; write the results whenever a run ends. Returns what `run_engine` does."""
    runs_of_plans = {run.plan: run for run in runs}
    for plan in runs_of_plans:
        forget_failure(plan)
    # All GPUs in turn; as many runs at a time as --jobs, however many GPUs there are.
    devices = find_devices(options.device, options.jobs)[: options.jobs]
    board = Board(list(runs_of_plans), score=lambda plan: summary(runs_of_plans[plan], table.scored))
    engine = LocalEngine(list(runs_of_plans), devices)
    return run_engine(engine, board, lambda: write_results(folder, runs, table.scored))


def write_by_yaw(folder: Path, runs: list[Run]) -> str:
    """Write turned.md: the scores of every run by yaw."""
    texts = []
    for run in runs:
        rows = score_run(run.plan.run, read_transforms(run.source))
        texts.append(f"{run}\n\n{as_text(by_yaw(rows, YAW_EDGES))}\n")
    text = "\n".join(texts)
    write_text(folder / "turned.md", text)
    return text


def runs_of(source: Path, table: Table, options: argparse.Namespace) -> Iterator[Run]:
    """All runs on one clip; a line for each row that it has no data for."""
    test_frames = dict(zip(options.clips, options.test_frames))
    split = ["--test_frames", str(test_frames[source])] if source in test_frames else []
    metrics_flags = ["--set", table.scored, *options.metrics_flags]
    for row in options.only or table.rows:
        flags = [*flags_of(table, row, options.train_flags), *split]
        lacking = [what for flag, what in NEEDS.items() if flag in flags and not has_data(source, what)]
        if lacking:
            print(f"{source.name} {row}: left out, the data have no {lacking[0]}", file=sys.stderr)
            continue
        for seed in options.seeds:
            yield run_of(source, row, seed, options.out / options.table, flags, metrics_flags)


def flags_of(table: Table, row: str, more: list[str]) -> list[str]:
    """The flags of train.py that a row has, with those of --train_flags."""
    return [*shlex.split(f"{table.flags} {table.rows[row]}"), *more]


def has_data(source: Path, what: str) -> bool:
    if what == "parsing/":
        return (source / "parsing").is_dir()
    frames = read_json(source / "transforms.json").get("frames") or [{}]
    return what in frames[0]


# --- the command line


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--clips", type=Path, nargs="+", required=True, metavar="DIR", help="folders of the clips")
    add("--table", choices=TABLES, default="main", help="which table (default: main)")
    add("--only", nargs="+", metavar="ROW", help="only these rows of the table (default: all)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="(default: 0 1 2)")
    add("--test_frames", type=int, nargs="+", default=[], metavar="N", help="held-out frames of each clip")
    add("--jobs", type=int, default=1, metavar="J", help="runs side by side (default: 1)")
    add("--device", default="auto", help="of all scripts (default: auto)")
    add("--out", type=Path, default=Path("output/results"), help="(default: output/results)")
    add("--train_flags", default="", help='more flags of train.py for all rows: "--max_minutes 5"')
    add("--metrics_flags", default="", help='flags of metrics.py: "--lpips_weights FILE --vgg_weights FILE"')
    options = parser.parse_args(argv)
    table = TABLES[options.table]
    for row in options.only or ():
        if row not in table.rows:
            raise UserError(f"--only {row}: table {options.table} has the rows {', '.join(table.rows)}")
    for source in options.clips:
        if not (source / "transforms.json").is_file():
            raise UserError(f"--clips {source}: no clip there (transforms.json)")
    if len({source.name for source in options.clips}) < len(options.clips):
        raise UserError("--clips: expected folders of different names")
    if options.test_frames and len(options.test_frames) != len(options.clips):
        raise UserError("--test_frames: expected a number for each of --clips")
    if options.jobs < 1:
        raise UserError(f"--jobs {options.jobs}: must be at least 1")
    if not DEVICE.fullmatch(options.device):
        raise UserError(f"--device {options.device}: expected auto, cpu, cuda or cuda:N")
    check_each_once("--only", options.only or ())
    check_each_once("--seeds", options.seeds)
    for name in ("train_flags", "metrics_flags"):
        try:
            setattr(options, name, shlex.split(getattr(options, name)))
        except ValueError as error:
            raise UserError(f"--{name}: {error}") from error
    for row in options.only or table.rows:
        # The clip is one that exists; what is wrong with it is train.py's to say.
        command = ["-s", str(options.clips[0]), *flags_of(table, row, options.train_flags)]
        parsed(parse_train_args, command, f"--train_flags, row {row}")
    return options


def check_each_once(flag: str, values: Sequence) -> None:
    """Raise UserError where runs would count twice in mean and spread."""
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"{flag} {value}: named twice")


if __name__ == "__main__":
    sys.exit(main())
