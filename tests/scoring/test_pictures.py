import json

import numpy as np
import pytest

from arguments import ScoringParams
from scoring.pictures import choose_views, write_pictures
from scoring.regions import RegionFinder
from scoring.rendered_set import find_rendered_sets
from scoring.scores import SetScores
from tests.scoring.runs import noisy, write_run
from tests.synthetic import edited_json, write_clip
from utils.images import error_map, from_uint8, read_png

PARAMS = ScoringParams()
LABEL_HEIGHT = 18


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip")


@pytest.fixture
def rendered(clip, tmp_path):
    run = write_run(tmp_path / "out", clip, noisy, image_ids=(8, 9, 10, 11))
    return lambda: find_rendered_sets(ScoringParams(model_path=(run,)))[0]


SCORES = SetScores(tuple({"psnr": value} for value in (25.0, 30.0, float("inf"), 20.0)))


def test_best_median_and_worst_are_by_psnr(rendered):
    chosen = choose_views(rendered(), SCORES)
    assert {name: view.image_id for name, view in chosen.items()} == {"best": 10, "median": 8, "worst": 11}


def test_the_widest_mouth_is_shown_where_the_coefficient_has_its_name(clip, rendered):
    with edited_json(clip) as document:
        document["exp_names"][2] = "jawOpen"
        for frame in document["frames"]:
            frame["exp_ori"][2] = 1.0 if frame["img_id"] == 9 else 0.0
    assert choose_views(rendered(), SCORES)["mouth open"].image_id == 9


def test_strips_hold_truth_render_and_error_of_three_frames(rendered):
    found = rendered()
    write_pictures(found, SCORES, RegionFinder(found, PARAMS))
    strips = read_png(found.folder / "strips.png")
    assert strips.shape[1] == 3 * found.width + 2 * 2
    best = found.views[2]
    image, truth = (read_png(found.folder / kind / f"{best.index:05d}.png") for kind in ("renders", "gt"))
    # The label is 18 pixels high, the gap between pictures 2 wide.
    row = strips[LABEL_HEIGHT : LABEL_HEIGHT + found.height]
    expected = [truth, image, error_map(*(from_uint8(pixels) for pixels in (image, truth)))]
    for column, pixels in enumerate(expected):
        left = column * (found.width + 2)
        assert np.array_equal(row[:, left : left + found.width], pixels)


def test_details_are_enlarged_crops_truth_above_render(rendered):
    found = rendered()
    finder = RegionFinder(found, PARAMS)
    write_pictures(found, SCORES, finder)
    details = read_png(found.folder / "details.png")
    mouth = finder.find(found.views[2]).details["mouth"]
    factor = round(320 / (mouth.right - mouth.left))
    assert factor > 10
    truth = read_png(found.folder / "gt" / "00002.png")[mouth.slices]
    shown = details[LABEL_HEIGHT:][: factor * truth.shape[0], : factor * truth.shape[1]]
    middles = shown[factor // 2 :: factor, factor // 2 :: factor].astype(int)
    # Cubic interpolation is nearly the pixel in its middle.
    assert np.abs(middles - truth).max() <= 12


def test_a_box_out_of_view_leaves_no_details_and_no_failure(rendered):
    found = rendered()
    away = ScoringParams(mouth_box=(50, 51, 0, 1, 0), eyes_box=(50, 51, 0, 1, 0))
    write_pictures(found, SCORES, RegionFinder(found, away))
    assert (found.folder / "strips.png").is_file() and not (found.folder / "details.png").exists()
    assert json.loads((found.folder / "metrics.json").read_text())["split"] == "test"
