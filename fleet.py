"""Make avatars of many people: from a table of videos or data sets to scores and light forms.

    python fleet.py people.csv -o output/fleet

Each row goes through prepare.py (a video), train.py, render.py, metrics.py and export.py, each as its own
process; rows share the machine's GPUs, or are jobs of a SLURM cluster or tasks of Ray (--engine slurm|ray). A
row that fails stops nobody. The same command goes on where it was ended, however that happened.
OUT/fleet.html and fleet.csv hold what came out; docs/fleet.md tells more.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from arguments.fleet import FleetParams, parse_fleet_args
from utils.errors import exit_on_user_error
from utils.startup import prepare_environment

if TYPE_CHECKING:
    from fleets.engine import Engine
    from fleets.stages import Plan

ROOT = Path(__file__).resolve().parent


@exit_on_user_error
def main(argv: list[str] | None = None, scripts: Path = ROOT) -> int:
    # Before torch is imported: --help and a wrong table answer at once.
    options = parse_fleet_args(argv)
    from fleets.board import Board
    from fleets.engine import run_engine
    from fleets.results import write_results
    from fleets.rows import read_rows
    from fleets.stages import plans_of
    from fleets.state import DONE, FAILED, forget_failure, outlook

    plans = plans_of(read_rows(options.people), options.out, scripts)
    prepare_environment()
    for plan in plans:
        forget_failure(plan)
    num_done = sum(outlook(plan).is_over for plan in plans)
    engine = choose_engine(options, plans)
    if not options.quiet:
        print(f"{len(plans)} rows, {num_done} of them done; {options.out}", file=sys.stderr)

    interruption = run_engine(engine, Board(plans, quiet=options.quiet))
    results = write_results(options.out, plans)
    for result in results:
        if result.status == FAILED:
            print(f"{result.name}: FAILED, {result.line}", file=sys.stderr)
    statuses = [result.status for result in results]
    counts = f"{statuses.count(DONE)} of {len(plans)} rows done, {statuses.count(FAILED)} failed"
    print(f"{counts}: {options.out / 'fleet.html'}")
    if interruption:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return interruption
    return int(statuses.count(DONE) < len(plans))


def choose_engine(options: FleetParams, plans: list[Plan]) -> Engine:
    """What runs the rows. Raises UserError where it is not there."""
    if options.engine == "slurm":
        from fleets.slurm import slurm_engine

        return slurm_engine(plans, options)
    if options.engine == "ray":
        from fleets.ray import ray_engine

        return ray_engine(plans, options)
    from fleets.local import local_engine

    return local_engine(plans, options)


if __name__ == "__main__":
    sys.exit(main())
