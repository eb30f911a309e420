"""The options of fleet.py and its command line."""

# ruff: noqa: RUF009 -- `option` only wraps dataclasses.field

from dataclasses import dataclass
from pathlib import Path

from arguments.options import device_option, option
from arguments.parser import build_parser, parse_flags
from arguments.validation import check_ranges
from utils.errors import UserError
from utils.files import why_not_writable

FLEET_USAGE = "python fleet.py people.csv -o output/fleet"
ENGINES = ("local", "slurm", "ray")
# Of the options that not every engine knows.
ENGINES_OF = {
    "workers": ("local", "ray"),
    "prepare_workers": ("local",),
    "cpus": ("ray",),
    "minutes": ("slurm",),
    "requeues": ("slurm", "ray"),
    "slurm": ("slurm",),
}


@dataclass(frozen=True)
class FleetParams:
    """Fleet: an avatar for every row of a table, from a video or a data set to scores and a light form."""

    people: Path | None = option(
        None,
        "CSV with the columns name and source (a video, or the folder of a data set), and options of "
        "train.py: a column each, or together in one column, options",
        flag="people",
        shown="required",
    )
    out: Path | None = option(
        None, "folder of the results", short="o", shown="output/<name of the table's file>"
    )
    engine: str = option(
        "local",
        "what runs the rows: this machine, a SLURM cluster through submitit, or Ray (the cluster that "
        "RAY_ADDRESS names, else one on this machine)",
        choices=ENGINES,
    )
    workers: int = option(
        1,
        "rows that share a GPU, or the CPU, at a time; with Ray, a GPU only",
        low=1,
        high=1000,
    )
    prepare_workers: int = option(
        1, "videos prepared at a time, on the CPU beside the rows that train", low=1, high=1000
    )
    cpus: int = option(2, "with Ray: cores of each row", low=1, high=1000)
    minutes: int = option(
        60, "with SLURM: time limit of a job, after which it is queued again", unit="minutes", low=1
    )
    requeues: int = option(
        10, "with SLURM and Ray: how often a row goes on that ran out of time, or whose worker died", low=0
    )
    slurm: tuple[str, ...] = option(
        (), "with SLURM: what submitit tells it, as NAME=VALUE, for example slurm_partition=gpu"
    )
    device: str = device_option()
    quiet: bool = option(False, "print errors and the final result only")

    @property
    def slurm_values(self) -> dict[str, str | int]:
        """--slurm by name; whole numbers as such."""
        pairs = [text.partition("=")[::2] for text in self.slurm]
        return {name: int(value) if value.isdecimal() else value for name, value in pairs}


FLEET_GROUPS = {"fleet": FleetParams}


def parse_fleet_args(argv: list[str] | None = None) -> FleetParams:
    """Parse and check the command line of fleet.py. Raises UserError."""
    parser = build_parser("fleet.py", FLEET_USAGE, "Make avatars of many people.", FLEET_GROUPS)
    given = parse_flags(parser, argv, FLEET_GROUPS)
    if given.get("people") is None:
        raise UserError("expected a table, for example people.csv")
    given.setdefault("out", Path("output") / given["people"].stem)
    params = FleetParams(**given)
    check_ranges(params)
    if not params.people.is_file():
        raise UserError(f"{params.people}: no such file; expected a CSV with the columns name and source")
    if reason := why_not_writable(params.out):
        raise UserError(f"-o/--out {params.out}: {reason}")
    for text in params.slurm:
        if not all(text.partition("=")):
            raise UserError(f"--slurm {text}: expected NAME=VALUE")
    for name, engines in ENGINES_OF.items():
        if name in given and params.engine not in engines:
            raise UserError(f"--{name}: only goes with --engine {' or '.join(engines)}")
    if params.engine == "ray" and params.device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {params.device}: Ray chooses the GPU; expected auto, cpu or cuda")
    return params
