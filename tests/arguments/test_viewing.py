"""The command line of viewer.py."""

from pathlib import Path

import pytest

from arguments import parse_viewer_args
from utils.errors import UserError


def test_avatars_are_given_at_once_or_one_by_one(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert parse_viewer_args(["-m", a, b]).model_path == (Path(a), Path(b))
    params = parse_viewer_args(["-m", a, "--model_path", b])
    assert params.model_path == (Path(a), Path(b))
    assert params.host == "127.0.0.1" and params.port is None and params.light


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "-m/--model_path: missing"),
        (["-m", "nowhere"], "nowhere: no such file"),
        (["-m", *"....."], "5 avatars; at most 4"),
        (["-m", ".", "--port", "70000"], "--port 70000: must be at most 65535"),
        (["-m", ".", "--hots", "x"], "did you mean --host"),
    ],
)
def test_what_cannot_be_shown_is_one_line(argv, complaint):
    with pytest.raises(UserError, match=complaint):
        parse_viewer_args(argv)


def test_a_camera_needs_no_number():
    assert parse_viewer_args(["-m", ".", "--webcam"]).webcam == 0
    assert parse_viewer_args(["-m", ".", "--webcam", "2"]).webcam == 2
    assert parse_viewer_args(["-m", "."]).webcam is None


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--webcam", "-1"], "--webcam -1: must be at least 0"),
        (["--webcam", "front"], "expected an integer, found 'front'"),
        (["--webcam", "--live", "vmc"], "--live and --webcam: expected one of them"),
        (["--video", "nowhere.mp4"], "--video nowhere.mp4: no such file"),
        (["--live", "morse"], "invalid choice: 'morse'"),
        (["--live_port", "5"], "--live_port: nothing listens"),
        (["--live", "vmc", "--live_port", "70000"], "--live_port 70000: must be at most"),
        (["--allow_origin", "http://a"], "--allow_origin: nothing is served"),
        (["--serve", "--allow_origin", "*"], r"--allow_origin \*: expected an address"),
        (["--serve", "--allow_origin", "http://a/b"], "expected an address such as"),
    ],
)
def test_a_live_face_that_cannot_be_is_one_line(argv, complaint):
    with pytest.raises(UserError, match=complaint):
        parse_viewer_args(["-m", ".", *argv])
