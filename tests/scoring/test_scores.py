import math

import pytest
import torch

from arguments import ScoringParams
from scoring.regions import RegionFinder
from scoring.rendered_set import ScoredView, find_rendered_sets
from scoring.scores import SetScores, is_even_in_time, score_set
from tests.scoring.runs import noisy, shifted, write_run
from tests.synthetic import write_clip

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("data") / "clip", width=64, height=48)


@pytest.fixture
def score(clip, tmp_path):
    """Score pictures that a function of truth and img_id makes."""

    def score(render, lpips=None, **options):
        params = ScoringParams(model_path=(write_run(tmp_path / "out", clip, render, **options),))
        (found,) = find_rendered_sets(params)
        return score_set(found, RegionFinder(found, params), CPU, lpips, quiet=True)

    return score


def test_perfect_pictures_have_perfect_scores(score):
    means = score(lambda truth, i: truth).means
    assert all(means[name] == math.inf for name in ("psnr", "head_psnr", "mouth_psnr", "eyes_psnr"))
    assert all(means[name] == pytest.approx(1) for name in ("ssim", "head_ssim", "sharpness"))
    assert all(means[name] == 0 for name in ("l1", "head_l1", "background_error", "flicker"))


def test_an_even_error_has_the_same_l1_and_psnr_in_every_region(score):
    # No pixel of the clip is clamped by 51 levels more.
    view = score(lambda truth, i: truth + 51 / 255).views[0]
    for region in ("", "head_", "mouth_", "eyes_"):
        assert view[f"{region}l1"] == pytest.approx(0.2, abs=1e-6)
        assert view[f"{region}psnr"] == pytest.approx(-20 * math.log10(0.2), abs=1e-4)
    assert view["background_error"] == pytest.approx(0.2, abs=1e-6)


def test_an_error_below_the_head_is_not_the_heads(score):
    def wrong_below(truth, image_id):
        rows = torch.arange(truth.shape[1])[:, None]
        return torch.where(rows > 30, 1 - truth, truth)

    view = score(wrong_below).views[0]
    assert view["head_psnr"] == view["eyes_psnr"] == math.inf
    assert view["psnr"] < 15
    assert view["sharpness"] == 1 != view["sharpness_person"]


def test_background_error_ignores_what_is_near_the_person(score):
    y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    from_middle = torch.hypot(x - 32, y - 24)

    def dirty(truth, image_id):
        return torch.where(x > 60, 1.0, truth)

    # The truth is black there. 15 px at width 512 are 1.875 here; from centre to centre, by brute force.
    person = torch.stack([x, y], dim=-1)[from_middle < 0.35 * 48]  # [P, 2]
    distance = torch.cdist(torch.stack([x, y], dim=-1).flatten(0, 1), person).amin(dim=1).view(48, 64)
    expected = (x > 60)[distance > 15 * 64 / 512].float().mean().item()
    assert score(dirty).views[0]["background_error"] == pytest.approx(expected, rel=1e-6)
    near = from_middle < 0.35 * 48 + 1
    assert score(lambda truth, i: torch.where(near, 1.0, truth)).views[0]["background_error"] == 0


def test_flicker_is_of_the_middle_frame_of_three(score):
    views = score(shifted, image_ids=(8, 9, 10)).views
    assert [math.isnan(view["flicker"]) for view in views] == [True, False, True]
    assert score(lambda truth, i: truth + 51 / 255).means["flicker"] == pytest.approx(0, abs=1e-6)
    # The error alternates by 0.05: +-2 x 0.05 where nothing is clamped.
    assert views[1]["flicker"] == pytest.approx(0.1, abs=2 / 255)


def test_frames_apart_do_not_flicker(score):
    assert math.isnan(score(noisy, image_ids=(5, 7, 8)).means["flicker"])
    assert math.isnan(score(noisy, image_ids=(7, 8)).means["flicker"])


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([(0, 0), (1, 1), (2, 2)], True),
        # Ids in steps of 10: even in time.
        ([(10, 5), (20, 6), (30, 7)], True),
        # A gap in the clip.
        ([(0, 0), (1, 1), (3, 2)], False),
        # Frames left out.
        ([(0, 0), (2, 2), (4, 4)], False),
        ([(0, 0), (1, 1)], False),
    ],
)
def test_three_frames_in_a_row_are_evenly_spaced_neighbours(frames, expected):
    views = tuple(ScoredView(k, image_id, position) for k, (image_id, position) in enumerate(frames))
    assert is_even_in_time(views) == expected


def test_sharpness_of_the_person_is_that_of_whole_persons(score, tmp_path):
    assert "sharpness_person" in score(noisy).means
    assert "sharpness_person" not in score(noisy, only_head=True).means


def test_lpips_is_there_if_it_can_be_computed(score):
    assert "lpips" not in score(noisy).means
    seen = []

    def distance(image, truth):
        seen.append((image - truth).abs().max())
        return seen[-1]

    views = score(noisy, lpips=distance).views
    assert [view["lpips"] for view in views] == seen and len(set(seen)) == 3


def test_means_leave_out_what_is_not_defined():
    scores = SetScores(({"a": 1.0, "b": math.nan}, {"a": math.nan, "b": math.nan}, {"a": 3.0, "b": math.nan}))
    assert scores.means["a"] == 2 and math.isnan(scores.means["b"])
