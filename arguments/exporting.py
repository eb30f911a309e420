"""The options of export.py and its command line."""

# ruff: noqa: RUF009 -- `option` only wraps dataclasses.field

from dataclasses import dataclass
from pathlib import Path

from arguments.options import device_option, option
from arguments.parser import build_parser, parse_flags
from arguments.validation import check_ranges
from utils.errors import UserError
from utils.files import why_not_writable

EXPORT_USAGE = "python export.py -m output/id1"
# What a format's file is called.
SUFFIXES = {
    "light": ".safetensors",
    "web": ".html",
    "ply": ".ply",
    "spz": ".spz",
    "gltf": ".glb",
    "lam": ".zip",
}
# Formats that hold splats at rest: one expression.
STILL_FORMATS = ("ply", "spz", "gltf")
USUAL_YAW = 50.0


@dataclass(frozen=True)
class ExportParams:
    """Light form: splats and linear bases, without networks and mesh, of an avatar on a head model."""

    model_path: Path | None = option(
        None, "folder of a trained avatar, or its .safetensors file", short="m", shown="required"
    )
    iteration: int = option(-1, "saved iteration to export; -1 = the last one", unit="iterations", low=-1)
    out: Path | None = option(
        None,
        "file to write, a .safetensors, or as --format has it: .html, .ply, .spz, .glb, .zip",
        short="o",
        shown="light/iteration_N.safetensors in --model_path, NAME_light.safetensors beside a file",
    )
    format: str = option(
        "light",
        "what to write: the light form, a page, splats of one expression (ply, spz, gltf), or a LAM zip",
        choices=tuple(SUFFIXES),
    )
    web: bool = option(
        False, "write a page that plays the avatar in any browser: one .html; short for --format web"
    )
    expression: str | None = option(
        None,
        "coefficients of the splats of ply, spz or gltf, as NAME=NUMBER,..., for example jawOpen=0.5",
        shown="the neutral face",
    )
    frames: int = option(
        0,
        "with --format ply: so many numbered files, the start of the motion of the clip; 0 = one expression",
        unit="frames",
        low=0,
    )
    max_megabytes: float | None = option(
        None,
        "largest size of the light form, also of the one a LAM zip is made of, or of the page",
        unit="MB",
        low=0.1,
        high=100,
        shown="3, with --web 4",
    )
    max_yaw: float | None = option(
        None,
        "of the light form, the page and the LAM zip: splats that never show within this turn to either side "
        "are left out",
        unit="degrees",
        low=0,
        high=180,
        shown="50",
    )
    device: str = device_option()
    quiet: bool = option(False, "print errors and the final result only")

    @property
    def kind(self) -> str:
        """The format, whichever way it was said."""
        return "web" if self.web else self.format

    @property
    def shown_yaw(self) -> float:
        """Degrees to either side within which the avatar is looked at."""
        return USUAL_YAW if self.max_yaw is None else self.max_yaw

    @property
    def max_bytes(self) -> int:
        """The largest file."""
        usual = 4.0 if self.kind == "web" else 3.0
        return round(1e6 * (usual if self.max_megabytes is None else self.max_megabytes))


EXPORT_GROUPS = {"export": ExportParams}


def parse_export_args(argv: list[str] | None = None) -> ExportParams:
    """Parse and check the command line of export.py. Raises UserError."""
    parser = build_parser("export.py", EXPORT_USAGE, "Bake an avatar into its light form.", EXPORT_GROUPS)
    params = ExportParams(**parse_flags(parser, argv, EXPORT_GROUPS))
    check_ranges(params)
    if params.model_path is None:
        raise UserError("-m/--model_path: missing; a trained avatar, for example -m output/id1")
    if not params.model_path.exists():
        raise UserError(f"-m/--model_path {params.model_path}: no such file or folder")
    _check_format(params)
    suffix = SUFFIXES[params.kind]
    if params.out is not None and params.out.suffix != suffix:
        why = (
            "" if params.kind == "light" else " with --web" if params.web else f" with --format {params.kind}"
        )
        raise UserError(f"-o/--out {params.out}: expected a name that ends in {suffix}{why}")
    if params.out is not None and params.out.resolve() == params.model_path.resolve():
        raise UserError(f"-o/--out {params.out}: is the model that is exported")
    if params.out is not None and (reason := why_not_writable(params.out.parent)):
        raise UserError(f"-o/--out {params.out}: {reason}")
    return params


def _check_format(params: ExportParams) -> None:
    if params.web and params.format not in ("light", "web"):
        raise UserError(f"--web: is short for --format web; expected no --format {params.format} beside it")
    if params.expression is not None and params.kind not in STILL_FORMATS:
        raise UserError(f"--expression: expected --format {', '.join(STILL_FORMATS)}, found {params.kind}")
    for name in ("max_megabytes", "max_yaw"):
        if getattr(params, name) is not None and params.kind in STILL_FORMATS:
            whole = f"--format {params.kind} writes all splats of the avatar as they are"
            raise UserError(f"--{name}: is of the light form, the page and the LAM zip; {whole}")
    if params.frames and params.kind != "ply":
        raise UserError(f"--frames: expected --format ply, found {params.kind}")
    if params.frames and params.expression is not None:
        raise UserError("--frames: plays the motion of the clip; expected no --expression beside it")
