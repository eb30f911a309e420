"""What is done for a row: the scripts of this project, one after another, as a user would type them.

Everything of a row of fleet.py lies in OUT/people/NAME: data/ (of a video), run/ (the avatar), log.txt (what
the scripts printed), state.json (`state.py`). benchmarks/results.py has plans of its own.
"""

from pathlib import Path
from typing import NamedTuple

from fleets.rows import Row

ROOT = Path(__file__).resolve().parent.parent


class Stage(NamedTuple):
    """One script with its arguments; those of the device come on top where it uses one."""

    name: str
    command: tuple[str, ...]
    uses_device: bool = True


class Plan(NamedTuple):
    """The stages of a row, in order, and its folders.

    folder: of its state and its log, for nobody else. data: what is learned from. run: of train.py.
    """

    name: str
    folder: Path
    data: Path
    run: Path
    stages: tuple[Stage, ...]
    scripts: Path = ROOT

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"


def plans_of(rows: list[Row], out: Path, scripts: Path = ROOT) -> list[Plan]:
    """What fleet.py does for each row, and where."""
    return [plan_of(row, out.resolve() / "people" / row.name, scripts) for row in rows]


def plan_of(row: Row, folder: Path, scripts: Path = ROOT) -> Plan:
    data, run = folder / "data" if row.is_video else row.source, folder / "run"
    prepare = ("prepare.py", str(row.source), str(data), *row.prepare_flags)
    training = ("train.py", "-s", str(data), "-m", str(run), "--eval", *row.train_flags)
    stages = (
        *([Stage("prepare", prepare, uses_device=False)] if row.is_video else []),
        Stage("train", training),
        Stage("render", ("render.py", "-m", str(run), "--skip_train")),
        Stage("score", ("metrics.py", "-m", str(run), "--set", "test")),
        Stage("export", ("export.py", "-m", str(run))),
    )
    return Plan(row.name, folder, data, run, stages, scripts)


def is_bakeable(plan: Plan) -> bool:
    """Whether the avatar has a light form: only those on a head model do."""
    # Only where an export comes up.
    from safetensors import safe_open

    models = sorted(
        (plan.run / "model").glob("iteration_*.safetensors"), key=lambda path: path.stat().st_mtime
    )
    if not models:
        return True
    with safe_open(str(models[-1]), framework="numpy") as model:
        return any(name.startswith("scaffold.") for name in model.keys())  # noqa: SIM118


def command_to_start(plan: Plan, stage: Stage, has_begun: bool, device: str) -> list[str]:
    """The command that does a stage, or goes on with it where it `has_begun` with the same options."""
    command = list(stage.command)
    if stage.name == "train":
        if has_begun and any((plan.run / "checkpoints").glob("*.safetensors")):
            command = ["train.py", "-m", str(plan.run), "--resume"]
        else:
            command.append("--overwrite")
    # prepare.py goes on by itself; what is complete it would refuse.
    if stage.name == "prepare" and (not has_begun or (plan.data / "transforms.json").is_file()):
        command.append("--overwrite")
    return [*command, *(["--device", device] if stage.uses_device else [])]
