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
