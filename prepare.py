"""Make a data set from a video of one talking person.

    python prepare.py my_video.mp4 data/me              a folder that `train.py -s data/me` takes as it is
    python prepare.py --torso-only data/me              add the torso's motion to a data set that exists
    python prepare.py --from insta DIR data/me          turn someone else's data set into this layout

Needs `pip install -r requirements-prepare.txt`. The steps are in preparation/pipeline.py.
"""

import argparse
import math
import os
import sys
from pathlib import Path

from arguments.command_line import Parser
from utils.errors import UserError, exit_on_user_error
from utils.startup import prepare_environment


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    options = parse_arguments(argv)  # before the imports below: --help and a wrong flag answer at once
    prepare_environment()
    # Frames are worked on side by side already; more threads inside of each only wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if options.torso_only:
        from preparation.add_torso import add_torso

        motion = add_torso(options.torso_only, overwrite=options.overwrite, quiet=options.quiet)
        print(f"{options.torso_only}: torso_transform in {len(motion.transforms)} frames")
    elif options.source_format:
        from preparation.foreign import convert

        count = convert(options.source_format, options.video, options.out, overwrite=options.overwrite)
        print(f"{options.out}: {count} frames")
    else:
        prepare_video(options)


def prepare_video(options: argparse.Namespace) -> None:
    from preparation.networks import find_networks
    from preparation.options import Options
    from preparation.pipeline import prepare
    from preparation.summary import print_summary
    from preparation.video import open_video

    open_video(options.video, options.start, options.end)  # before anything is downloaded for it
    networks = find_networks(options.models, options.matting, options.parsing, options.quiet)
    names = Options.__dataclass_fields__
    wanted = {name: value for name, value in vars(options).items() if name in names} | {
        "parsing": options.parsing != "none"
    }
    report = prepare(Options(**wanted), networks)
    if not options.quiet:
        print_summary(report, options.out)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("video", type=Path, nargs="?", help="any video that ffmpeg reads; with --from a folder")
    add("out", type=Path, nargs="?", help="folder of the data set to make")
    add(
        "--fps",
        type=_positive,
        default=30.0,
        help="frames per second, at most (default: 30); tracked are all",
    )
    add("--start", type=_seconds, default=0.0, metavar="T", help="seconds, or minutes:seconds (default: 0)")
    add("--end", type=_seconds, metavar="T", help="seconds, or minutes:seconds (default: the end)")
    add("--size", type=int, default=512, help="side of the square pictures, pixels (default: 512)")
    add(
        "--focal",
        type=_positive,
        help="focal length in pixels of the video (default: an assumption, reported)",
    )
    add(
        "--expression_cutoff",
        type=_positive,
        default=6.0,
        help="Hz above which expressions are smoothed away, -3 dB (default: 6; speech moves lips at up to 5)",
    )
    add(
        "--matting",
        type=Path,
        metavar="FILE.onnx",
        help="a better matting network, RGB in [-1, 1] as [1, 3, h, w] to a matte in [0, 1]; "
        "needs onnxruntime",
    )
    add(
        "--parsing",
        choices=("auto", "network", "color", "none"),
        default="auto",
        help="what finds the head for --only_head: a network (16 MB), jaw line and colours, or nothing; "
        "auto: the network where it can be had (default)",
    )
    add(
        "--models",
        type=Path,
        metavar="DIR",
        help="folder of the model files (default: GAUSSIANHEAD_MODELS, else download)",
    )
    add("--no-torso", dest="torso", action="store_false", help="do not follow the torso")
    add("--torso-only", type=Path, metavar="DATA", help="add torso_transform to this data set, nothing else")
    add(
        "--from",
        dest="source_format",
        choices=("insta", "flashavatar"),
        help="convert a folder of this format",
    )
    add("--overwrite", action="store_true", help="replace what is there")
    add("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_args(argv)
    if options.torso_only is None and (options.video is None or options.out is None):
        parser.error("expected a video and the folder to make")
    if options.torso_only is not None and options.video is not None:
        parser.error("--torso-only takes no video")
    if not 64 <= options.size <= 4096:
        raise UserError(f"--size {options.size}: expected 64 to 4096 pixels")
    return options


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text}")
    return value


def _seconds(text: str) -> float:
    minutes, _, seconds = text.rpartition(":")
    value = 60 * int(minutes or 0) + float(seconds)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds or minutes:seconds, found {text}")
    return value


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
