"""What report.json says of a head that is tracked perfectly, and of a cloud of landmarks."""

import json

import pytest

from parametric_head.model import NAME
from preparation.report.head_section import DEPTH_OF_LANDMARKS, head_section
from tests.preparation.report.tracked_clip import tracked_clip


@pytest.fixture(scope="module")
def section(tmp_path_factory):
    return head_section(tracked_clip(tmp_path_factory.mktemp("clip")))


def test_the_model_is_named_with_its_digest(section):
    assert section["model"]["name"] == NAME
    assert len(section["model"]["sha256"]) == 64
    assert section["expressions"] == "solved"


def test_a_clip_that_turns_tells_depth_and_shows_both_sides(section):
    # Without the outermost 2.5 percent.
    assert section["turned_degrees"]["yaw"] == pytest.approx([-28.5, 28.5], abs=0.5)
    assert section["verdict"].endswith("both sides are seen")
    assert section["depth"]["is_told"]
    assert min(section["depth"]["error_rises_by"].values()) > 0


def test_true_coefficients_explain_the_motion_and_noise_does_not(section):
    explained = section["explained_motion"]
    assert explained["solved"]["all"] == pytest.approx(1, abs=1e-6)
    assert explained["from_scores_held_out"]["all"] < 0.5
    assert set(explained["solved"]) == {"all", "mouth", "jaw", "lids", "brows"}


def test_outline_and_rejected_frames_are_counted(section):
    # The matte is the mesh's own.
    assert section["outline"]["face"]["median_px"] < 1
    assert section["frames_rejected"] == 1
    assert set(section["closed_gaps_px"]) == {"lips", "left_lids", "right_lids"}


def test_it_is_json(section):
    assert json.loads(json.dumps(section, allow_nan=False)) == section


def test_landmarks_alone_are_said_not_to_tell_depth(tmp_path):
    work = tracked_clip(tmp_path, degrees=3)
    work.head_fit, work.coefficients, work.is_solved = None, None, False
    section = head_section(work)
    assert section["model"] is None
    assert section["expressions"] == "scores"
    assert section["verdict"].startswith("turns by 6 degrees")
    assert section["depth"]["meaning"] == DEPTH_OF_LANDMARKS
    assert not section["depth"]["is_told"]
    assert "explained_motion" not in section
