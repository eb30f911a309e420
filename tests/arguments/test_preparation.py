"""The command line of prepare.py, which is a contract."""

from pathlib import Path

import pytest

from arguments import PreparationParams, parse_prepare_args
from utils.errors import UserError

VIDEO_AND_OUT = ["me.mp4", "data/me"]


def test_a_video_and_a_folder_are_enough():
    assert parse_prepare_args(VIDEO_AND_OUT) == PreparationParams(Path("me.mp4"), Path("data/me"))


def test_every_flag_arrives():
    given = (
        "--fps 25 --start 1:02.5 --end 90 --size 256 --focal 900 --expression_cutoff 4 --matting m.onnx "
        "--parsing color --models weights --no-torso --overwrite --quiet"
    )
    assert parse_prepare_args([*VIDEO_AND_OUT, *given.split()]) == PreparationParams(
        Path("me.mp4"),
        Path("data/me"),
        fps=25,
        start=62.5,
        end=90,
        size=256,
        focal=900,
        expression_cutoff=4,
        matting=Path("m.onnx"),
        parsing="color",
        models=Path("weights"),
        torso=False,
        overwrite=True,
        quiet=True,
    )


def test_the_other_two_ways_to_call_it():
    assert parse_prepare_args(["--torso-only", "data/me"]) == PreparationParams(torso_only=Path("data/me"))
    converted = parse_prepare_args(["--from", "insta", "theirs", "data/me"])
    assert converted == PreparationParams(Path("theirs"), Path("data/me"), source_format="insta")


def test_the_csv_is_of_the_set_that_is_made_or_of_one_that_exists(tmp_path):
    made = parse_prepare_args([*VIDEO_AND_OUT, "--write_csv"])
    assert made.data_set == Path("data/me") and not made.is_csv_only
    exists = parse_prepare_args(["--write_csv", str(tmp_path)])
    assert exists.data_set == tmp_path and exists.is_csv_only
    tracked = parse_prepare_args(["--track-only", "data/id1", "--write_csv"])
    assert tracked.data_set == Path("data/id1") and not tracked.is_csv_only
    with pytest.raises(
        UserError, match=r"^--write_csv me\.mp4: expected a data set's folder, or a video and"
    ):
        parse_prepare_args(["me.mp4", "--write_csv"])


def test_a_switch_before_the_video_does_not_swallow_it():
    for flags in (["--quiet"], ["--no-torso", "--overwrite"]):
        assert parse_prepare_args([*flags, *VIDEO_AND_OUT]).video == Path("me.mp4")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a video and the folder to make"),
        (["me.mp4"], "expected a video and the folder to make"),
        ([*VIDEO_AND_OUT, "more"], "unexpected argument 'more'"),
        ([*VIDEO_AND_OUT, "--torso-only", "data"], "--torso-only takes no video"),
        ([*VIDEO_AND_OUT, "--fps", "0"], "--fps: expected a positive number, found 0"),
        ([*VIDEO_AND_OUT, "--focal", "long"], "--focal: expected a number, found 'long'"),
        ([*VIDEO_AND_OUT, "--size", "10"], "--size 10: must be at least 64"),
        ([*VIDEO_AND_OUT, "--size", "5000"], "--size 5000: must be at most 4096"),
        ([*VIDEO_AND_OUT, "--start", "x"], "--start: expected seconds or minutes:seconds, found 'x'"),
        ([*VIDEO_AND_OUT, "--end", "1:x"], "--end: expected seconds or minutes:seconds, found '1:x'"),
        ([*VIDEO_AND_OUT, "--start", "inf"], "--start: expected seconds or minutes:seconds, found 'inf'"),
        ([*VIDEO_AND_OUT, "--from", "nerface"], "--from: invalid choice: 'nerface'.*insta.*flashavatar"),
        ([*VIDEO_AND_OUT, "--parsing", "blue"], "--parsing: invalid choice: 'blue'.*auto.*network"),
        (
            [*VIDEO_AND_OUT, "--parsing", "head", "--tracker", "landmarks"],
            "--parsing head: needs the head model, which --tracker landmarks leaves out",
        ),
        (["--torso_only", "data"], "--torso_only: no such option; did you mean --torso-only?"),
        ([*VIDEO_AND_OUT, "--extra_expressions", "gaze"], "--extra_expressions: no such option"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(arguments, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        parse_prepare_args(arguments)
