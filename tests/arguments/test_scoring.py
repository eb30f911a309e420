from pathlib import Path

import pytest

from arguments import parse_metrics_args
from utils.errors import UserError


def test_several_runs_and_boxes_keep_their_order():
    params = parse_metrics_args(
        ["-m", "b", "a", "--mouth_box", "-0.1", ".1", "-0.1", "0", "-.1", "--set", "val", "test"]
    )
    assert params.model_path == (Path("b"), Path("a"))
    assert params.mouth_box == (-0.1, 0.1, -0.1, 0.0, -0.1)
    assert params.set == ("val", "test")
    assert params.iteration == -1 and not params.quiet


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "-m/--model_path: missing"),
        (["-m", "a", "--set", "tset"], "--set tset: expected one of train, val, test"),
        (["-m", "a", "--mouth_box", "0", "1", "0", "1"], "--mouth_box 0 1 0 1: expected x from, x to"),
        (["-m", "a", "--eyes_box", "0", "1", "1", "0", "0"], "--eyes_box 0 1 1 0 0: expected x from, x to"),
        (["-m", "a", "--eyes_box", "0", "1", "x"], "--eyes_box: expected a number, found 'x'"),
        (["-m", "a", "--lpips_weights", "none.pth"], "--lpips_weights none.pth: no such file"),
        (["-m", "a", "--vgg_weights", __file__], "LPIPS needs --lpips_weights FILE too"),
        (["-m", "a", "--iteration", "-2"], "--iteration -2: must be at least -1"),
        (["-m", "a", "--device", "gpu"], "--device gpu: expected auto, cpu"),
    ],
)
def test_wrong_options_are_refused_in_one_line(flags, message):
    with pytest.raises(UserError) as refusal:
        parse_metrics_args(flags)
    assert message in str(refusal.value)
