import json
import math

import pytest

from arguments import ScoringParams
from scoring.rendered_set import find_rendered_sets
from scoring.report import table, write_scores
from scoring.scores import SetScores
from tests.scoring.runs import noisy, write_run
from tests.synthetic import write_clip

ROW = {
    "psnr": 21.0,
    "ssim": 0.5,
    "l1": 0.1,
    "head_psnr": 30.0,
    "flicker": math.nan,
    "background_error": 1 / 255,
}
SCORES = SetScores(tuple({**ROW, "psnr": 21.0 + i, "lpips": 0.2} for i in range(3)))


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "out", write_clip(tmp_path / "clip"), noisy)


def found(run):
    return find_rendered_sets(ScoringParams(model_path=(run,)))[0]


def load(path):
    return json.loads(path.read_text())


def test_what_render_py_wrote_stays_and_a_second_run_replaces_only_the_scores(run):
    path = run / "test" / "ours_7" / "metrics.json"
    before = load(path)
    for _ in range(2):
        write_scores(found(run), SCORES, ScoringParams())
        after = load(path)
        scores = after.pop("scores")
        assert after == before
    assert scores["mean"]["psnr"] == 22.0 and scores["mean"]["flicker"] is None
    assert [view["image_id"] for view in scores["per_view"]] == [9, 10, 11]
    assert scores["boxes"]["mouth"] == list(ScoringParams().mouth_box)
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()


def test_the_familys_files_keep_the_numbers_of_training_and_get_the_others(run):
    trained = {"ours_3": {"PSNR": 1.0}, "ours_7": {"L1": 0.125, "PSNR": 20.5, "SSIM": 0.75}}
    (run / "results.json").write_text(json.dumps(trained))
    views = [{"image_id": i, "l1": 0.5, "psnr": 20.5, "ssim": 0.75} for i in (9, 10, 11)]
    (run / "per_view.json").write_text(json.dumps({"ours_7": views}))
    write_scores(found(run), SCORES, ScoringParams())

    results = load(run / "results.json")
    assert results["ours_3"] == trained["ours_3"]
    assert results["ours_7"].items() >= trained["ours_7"].items()
    assert results["ours_7"]["LPIPS"] == pytest.approx(0.2) and results["ours_7"]["head_psnr"] == 30.0
    per_view = load(run / "per_view.json")["ours_7"]
    assert [view["image_id"] for view in per_view] == [9, 10, 11]
    assert all(view["psnr"] == 20.5 and view["head_psnr"] == 30.0 for view in per_view)


def test_without_training_scores_the_familys_files_are_made(run):
    write_scores(found(run), SCORES, ScoringParams())
    assert load(run / "results.json")["ours_7"]["PSNR"] == 22.0
    assert load(run / "per_view.json")["ours_7"][2]["psnr"] == 23.0


def test_other_sets_do_not_enter_the_familys_files(run):
    write_run(run, run.parent / "clip", noisy, image_ids=(7, 8), name="val")
    _, val = find_rendered_sets(ScoringParams(model_path=(run,)))
    write_scores(val, SetScores(SCORES.views[:2]), ScoringParams())
    assert not (run / "results.json").exists()
    assert load(run / "val" / "ours_7" / "metrics.json")["scores"]["mean"]["psnr"] == 21.5


def test_the_table_has_a_row_for_each_set_and_no_column_that_is_empty(run):
    heading, row = table([(found(run), SCORES)])
    assert len(heading) == len(row)
    cells = dict(zip(heading, row))
    assert cells["run"] == str(run) and cells["set"] == "test" and cells["frames"] == "3"
    assert cells["whole"] == "22.00 / 0.5000" and cells["head"] == "30.00 / -"
    assert cells["flicker"] == "-" and cells["background"] == "1.000" and cells["LPIPS"] == "0.2000"
    assert "sharpness" not in heading
