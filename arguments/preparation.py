"""The options of prepare.py and its command line."""

# ruff: noqa: RUF009 -- `option` only wraps dataclasses.field

from dataclasses import dataclass
from pathlib import Path

from arguments.options import Positive, Seconds, option
from arguments.parser import build_parser, parse_flags
from arguments.validation import check_ranges
from utils.errors import UserError

PREPARE_USAGE = """python prepare.py VIDEO OUT
       python prepare.py --torso-only DATA
       python prepare.py --track-only DATA [--keep poses|expressions]
       python prepare.py --from FORMAT DIR OUT
       python prepare.py --write_csv DATA"""
PREPARE_DESCRIPTION = (
    "Make a data set from a video of one talking person; add the torso's motion to one that exists, or track "
    "its head anew; or turn someone else's into this layout. Needs: pip install -r requirements-prepare.txt"
)
PARSERS = ("auto", "network", "head", "color", "none")
TRACKERS = ("auto", "head", "landmarks")
EXPRESSIONS = ("solved", "mediapipe")
FOREIGN_FORMATS = (
    "vhap",
    "gaussianavatars",
    "insta",
    "flashavatar",
    "imavatar",
    "nerfblendshape",
    "flame-frames",
)
KEPT = ("poses", "expressions")
ROTATIONS = (0, 90, 180, 270)


@dataclass(frozen=True)
class PreparationParams:
    """Preparation: from a video to a folder that train.py takes as it is."""

    video: Path | None = option(
        None, "any video that ffmpeg reads; with --from a folder", flag="video", shown="required"
    )
    out: Path | None = option(None, "folder of the data set to make", flag="out", shown="required")
    fps: Positive = option(
        30.0,
        "frames per second, at most; tracked are all; with --track-only and --write_csv those of a folder "
        "that has no times",
        unit="frames/s",
    )
    start: Seconds = option(0.0, "where to begin in the video: seconds, or minutes:seconds")
    end: Seconds | None = option(
        None, "where to end in the video: seconds, or minutes:seconds", shown="the end"
    )
    rotate: int = option(
        0, "turn the picture clockwise, where its turn got lost: 0, 90, 180 or 270", unit="degrees"
    )
    size: int = option(512, "side of the square pictures", unit="pixels", low=64, high=4096)
    focal: Positive | None = option(
        None, "focal length in pixels of the video", shown="an assumption, reported"
    )
    expression_cutoff: Positive = option(
        6.0,
        "frequency above which expressions are smoothed away, -3 dB; speech moves lips at up to 5",
        unit="Hz",
    )
    matting: Path | None = option(
        None,
        "a better matting network, RGB in [-1, 1] as [1, 3, h, w] to a matte in [0, 1]; needs onnxruntime",
        metavar="FILE.onnx",
        shown="MediaPipe's",
    )
    parsing: str = option(
        "auto",
        "what finds the head for --only_head: a network (16 MB), the head model, jaw line and colours, or "
        "nothing; auto: the first of these that can be had",
        choices=PARSERS,
    )
    tracker: str = option(
        "auto",
        "what is tracked: a head model (9 MB, fetched once), or a cloud of landmarks; auto: the head model "
        "where it can be had",
        choices=TRACKERS,
    )
    expressions: str = option(
        "solved",
        "what exp_ori holds: coefficients solved with the head model, or MediaPipe's scores",
        choices=EXPRESSIONS,
    )
    models: Path | None = option(
        None, "folder of the model files", metavar="DIR", shown="GAUSSIANHEAD_MODELS, else download"
    )
    torso: bool = option(True, "follow the torso; --no-torso leaves it out")
    torso_only: Path | None = option(
        None,
        "add torso_transform to this data set, nothing else",
        flag="--torso-only",
        metavar="DATA",
        shown="off",
    )
    track_only: Path | None = option(
        None,
        "fit the head model to this data set: new poses and expressions, the old transforms.json kept beside",
        flag="--track-only",
        metavar="DATA",
        shown="off",
    )
    keep: str | None = option(
        None, "with --track-only: poses or expressions stay as they are", choices=KEPT, shown="neither"
    )
    source_format: str | None = option(
        None, "convert a folder of this format", flag="--from", choices=FOREIGN_FORMATS, shown="a video"
    )
    check_data: bool = option(
        True,
        "with --from, --torso-only and --track-only: refuse mattes and cameras that cannot belong to the "
        "pictures",
    )
    check_shots: bool = option(True, "refuse a clip that goes on with another person")
    write_csv: bool = option(
        False,
        "write the data set's coefficients as live_link.csv, as Live Link Face does, for Unreal; with one "
        "folder alone: those of a data set that exists",
    )
    overwrite: bool = option(False, "replace what is there")
    quiet: bool = option(False, "print nothing but errors")

    @property
    def data_set(self) -> Path:
        """The folder that is made, or worked on."""
        return self.torso_only or self.track_only or self.out or self.video

    @property
    def is_csv_only(self) -> bool:
        """Whether nothing is wanted but the CSV of a data set that exists."""
        one_folder = self.out is None and self.video is not None and self.source_format is None
        return self.write_csv and one_folder and not (self.torso_only or self.track_only)

    @property
    def wants_head(self) -> bool:
        return self.tracker != "landmarks"

    @property
    def wants_parsing(self) -> bool:
        return self.parsing != "none"


PREPARATION_GROUPS = {"preparation": PreparationParams}


def parse_prepare_args(argv: list[str] | None = None) -> PreparationParams:
    """Parse and check the command line of prepare.py. Raises UserError."""
    parser = build_parser("prepare.py", PREPARE_USAGE, PREPARE_DESCRIPTION, PREPARATION_GROUPS)
    params = PreparationParams(**parse_flags(parser, argv, PREPARATION_GROUPS))
    check_ranges(params)
    if params.rotate not in ROTATIONS:
        raise UserError(f"--rotate {params.rotate}: expected 0, 90, 180 or 270 degrees clockwise")
    if params.parsing == "head" and params.tracker == "landmarks":
        raise UserError("--parsing head: needs the head model, which --tracker landmarks leaves out")
    _check_task(params)
    return params


def _check_task(params: PreparationParams) -> None:
    """Refuse two tasks at once, and options that say nothing of the one."""
    tasks = {"--torso-only": params.torso_only, "--track-only": params.track_only}
    given = [flag for flag, folder in tasks.items() if folder is not None]
    if params.is_csv_only:
        if not params.video.is_dir():
            raise UserError(f"--write_csv {params.video}: expected a data set's folder, or a video and OUT")
        return
    if not given and (params.video is None or params.out is None):
        raise UserError("expected a video and the folder to make")
    if given and params.video is not None:
        raise UserError(f"{given[0]} takes no video")
    if len(given) > 1 or (given and params.source_format):
        raise UserError(f"{given[0]} and {given[-1] if len(given) > 1 else '--from'}: expected one of them")
    if params.track_only is None:
        if params.keep:
            raise UserError(f"--keep {params.keep}: only goes with --track-only")
        return
    if params.tracker == "landmarks":
        raise UserError("--tracker landmarks: --track-only fits the head model; expected head or auto")
    if params.keep == "expressions" and params.expressions != "solved":
        raise UserError(f"--expressions {params.expressions}: --keep expressions leaves exp_ori as it is")
