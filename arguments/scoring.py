"""The options of metrics.py and its command line."""

# ruff: noqa: RUF009 -- `option` only wraps dataclasses.field

from dataclasses import dataclass
from pathlib import Path

from arguments.options import device_option, option
from arguments.parser import build_parser, parse_flags
from arguments.validation import check_ranges
from utils.errors import UserError
from utils.files import why_not_writable

METRICS_USAGE = "python metrics.py -m output/id1 [output/id2 ...]"
COMPARISON_FOLDER = "comparison"
SETS = ("train", "val", "test", "val_tracked", "test_tracked")


@dataclass(frozen=True)
class ScoringParams:
    """Scores: of the pictures that render.py wrote.

    A box is flat and faces the camera; head units as in the data: origin between the ears, y up, z to the
    camera, forehead to chin about 0.48.
    """

    model_path: tuple[Path, ...] = option((), "folders of trained avatars", short="m", shown="required")
    set: tuple[str, ...] = option(
        (), f"which sets: {', '.join(SETS)}", shown="test and val, where they were rendered"
    )
    iteration: int = option(-1, "rendered iteration to score; -1 = the last one", unit="iterations", low=-1)
    source_path: Path | None = option(
        None, "folder of the clip, with its mattes and cameras", short="s", shown="as in training"
    )
    renders: tuple[Path, ...] = option(
        (),
        "folders of PNGs of the same frames by any other method, named by number or img_id, to score alike",
    )
    out: Path | None = option(
        None,
        "folder of a comparison; made for two methods and more, and for one where this is given",
        short="o",
        shown="comparison/ in the first run, output/comparison without a run",
    )
    page_megabytes: float = option(
        20.0,
        "largest size of a comparison's page; fewer frames fit into less",
        unit="MB",
        low=1,
        high=500,
    )
    white_background: bool = option(
        False, "without a run: the truth of --renders is the person on white, not on black", short="w"
    )
    mouth_box: tuple[float, ...] = option(
        (-0.1, 0.1, -0.2, -0.075, 0.27), "the mouth: x from, to, y from, to, z", unit="head units"
    )
    eyes_box: tuple[float, ...] = option(
        (-0.14, 0.14, 0.03, 0.115, 0.21), "the eyes: x from, to, y from, to, z", unit="head units"
    )
    lpips_weights: Path | None = option(
        None, "vgg.pth of lpips 0.1; with the VGG weights, LPIPS is computed", shown="none"
    )
    vgg_weights: Path | None = option(None, "weights of torchvision's vgg16, for LPIPS", shown="none")
    device: str = device_option()
    quiet: bool = option(False, "print errors and the table only")

    @property
    def comparison_folder(self) -> Path:
        """Where a comparison goes."""
        if self.out is not None:
            return self.out
        return (self.model_path[0] if self.model_path else Path("output")) / COMPARISON_FOLDER


SCORING_GROUPS = {"scores": ScoringParams}


def parse_metrics_args(argv: list[str] | None = None) -> ScoringParams:
    """Parse and check the command line of metrics.py. Raises UserError."""
    parser = build_parser("metrics.py", METRICS_USAGE, "Score rendered avatars.", SCORING_GROUPS)
    params = ScoringParams(**parse_flags(parser, argv, SCORING_GROUPS))
    check_ranges(params)
    if not params.model_path and not (params.renders and params.source_path):
        other_way = "; or the clip's, -s/--source_path data/id1" if params.renders else ""
        raise UserError(
            f"-m/--model_path: missing; folders of training runs, for example -m output/id1{other_way}"
        )
    if params.white_background and params.model_path:
        raise UserError("--white_background: is as the run of -m/--model_path has it; expected with -s only")
    if params.out is not None and (reason := why_not_writable(params.out)):
        raise UserError(f"-o/--out {params.out}: {reason}")
    _check_each_once("-m/--model_path", params.model_path)
    _check_each_once("--renders", params.renders)
    for name in params.set:
        if name not in SETS:
            raise UserError(f"--set {name}: expected one of {', '.join(SETS)}")
    for name in ("mouth_box", "eyes_box"):
        _check_box(name, getattr(params, name))
    for name, other in (("lpips_weights", "vgg_weights"), ("vgg_weights", "lpips_weights")):
        path = getattr(params, name)
        if path is not None and not path.is_file():
            raise UserError(f"--{name} {path}: no such file")
        if path is not None and getattr(params, other) is None:
            raise UserError(f"--{name} {path}: LPIPS needs --{other} FILE too")
    return params


def _check_each_once(flag: str, folders: tuple[Path, ...]) -> None:
    """A method beside itself would be taken for two."""
    seen = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise UserError(f"{flag} {folder}: named twice; expected each folder once")
        seen.add(folder.resolve())


def _check_box(name: str, box: tuple[float, ...]) -> None:
    if len(box) != 5 or not (box[0] < box[1] and box[2] < box[3]):
        found = " ".join(f"{value:g}" for value in box)
        raise UserError(f"--{name} {found}: expected x from, x to, y from, y to, z, in rising order")
