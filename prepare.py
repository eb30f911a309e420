"""Make a data set from a video of one talking person.

    python prepare.py my_video.mp4 data/me              a folder that `train.py -s data/me` takes as it is
    python prepare.py --torso-only data/me              add the torso's motion to a data set that exists
    python prepare.py --track-only data/id1             track the head of a data set that exists anew
    python prepare.py --from insta DIR data/me          turn someone else's data set into this layout
    python prepare.py --write_csv data/me               a CSV of its coefficients, as of Live Link Face

Needs `pip install -r requirements-prepare.txt`. The steps are in preparation/pipeline.py.
"""

import os
import sys

from arguments import PreparationParams, parse_prepare_args
from utils.errors import exit_on_user_error
from utils.startup import prepare_environment


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    # Before the imports below: --help and a wrong flag answer at once.
    options = parse_prepare_args(argv)
    prepare_environment()
    # Frames are worked on side by side already; more threads inside of each only wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if options.torso_only:
        add_torso_motion(options)
    elif options.track_only:
        track_head_anew(options)
    elif options.source_format:
        convert_data_set(options)
    elif not options.is_csv_only:
        prepare_video(options)
    if options.write_csv:
        write_csv(options)


def add_torso_motion(options: PreparationParams) -> None:
    from preparation.torso.clothes import add_torso

    motion = add_torso(options.torso_only, options.overwrite, options.quiet, options.check_data)
    if not options.quiet:
        print(f"{options.torso_only}: torso_transform in {len(motion.transforms)} frames")


def track_head_anew(options: PreparationParams) -> None:
    from preparation.retracking.retrack import retrack

    report = retrack(options)
    if options.quiet:
        return
    degrees = report["old_poses"]["degrees"]
    print(f"{options.track_only}: {report['frames']} frames tracked")
    print(f"  against the old poses {degrees['mean']:.2f} degrees mean, {degrees['95_percent']:.2f} at 95 %")
    for note in report["notes"]:
        print(f"  note: {note}")


def convert_data_set(options: PreparationParams) -> None:
    from preparation.converters.convert import convert

    checks = dict(overwrite=options.overwrite, quiet=options.quiet, check_data=options.check_data)
    converted = convert(options.source_format, options.video, options.out, **checks)
    if not options.quiet:
        print(f"{options.out}: {converted.num_frames} frames")
        for note in converted.notes:
            print(f"  {note}")


def prepare_video(options: PreparationParams) -> None:
    from preparation.pipeline import prepare
    from preparation.report.terminal import print_summary

    report = prepare(options)
    if not options.quiet:
        print_summary(report, options.out)


def write_csv(options: PreparationParams) -> None:
    from rendering.driving.data_set import read_data_set
    from rendering.driving.live_link import write_live_link

    sequence = read_data_set(options.data_set, options.fps)
    path = options.data_set / "live_link.csv"
    write_live_link(path, sequence)
    if not options.quiet:
        print(f"{path}: {len(sequence)} frames at {sequence.rate:g} frames/s")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
