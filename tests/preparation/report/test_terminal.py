"""The lines on the head in the summary for the terminal."""

from pathlib import Path

import pytest

from preparation.report.terminal import print_summary

EXPLAINED = {"all": 0.9, "mouth": 0.96, "jaw": 0.91, "lids": 0.5}
FROM_SCORES = {"all": 0.81, "mouth": 0.87, "jaw": 0.652, "lids": 0.4}


def lines(finished, capsys, **head) -> list[str]:
    report = finished.report | {"head": finished.report["head"] | head}
    print_summary(report, Path("data/me"))
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def of_model():
    return {
        "model": {"name": "some head", "sha256": "0"},
        "expressions": "solved",
        "explained_motion": {"solved": EXPLAINED, "from_scores_held_out": FROM_SCORES},
    }


def test_head_model_and_explained_motion_are_told(finished, capsys, of_model):
    told = lines(finished, capsys, **of_model, verdict="turns far")
    assert "head model          some head, expressions solved" in told
    assert "motion explained    0.90 all, 0.96 mouth, 0.91 jaw" in told
    assert "by scores, unseen   0.81 all, 0.87 mouth, 0.65 jaw" in told
    assert "the head            turns far" in told


@pytest.mark.parametrize("is_told", [True, False])
def test_depth_is_only_mentioned_where_it_is_not_told(finished, capsys, of_model, is_told):
    told = lines(finished, capsys, **of_model, depth={"is_told": is_told, "meaning": "flat"})
    assert ("depth               flat" in told) != is_told


def test_without_a_head_model_only_turns_and_depth_are_told(finished, capsys):
    told = lines(finished, capsys)
    assert not [line for line in told if "explained" in line or line.startswith("head model")]
    assert [line for line in told if line.startswith("the head")]
    assert [line for line in told if "landmarks alone can't tell depth from rotation" in line]
