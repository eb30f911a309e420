"""benchmarks/turned.py: scores of pictures by how far the head is turned."""

import json
import math

import cv2
import numpy as np
import pytest

from benchmarks.turned import SCORES, as_text, by_yaw, score_run, score_view, yaw_of
from scene.dataset_readers import read_transforms
from tests.synthetic import camera_to_world, write_clip
from utils.errors import UserError

SIZE = 128


def make_view():
    """A textured disc of radius 30 on white: picture [H, W, 3] and matte [H, W]."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    matte = (np.hypot(x - 64, y - 64) < 30).astype(np.float64)
    picture = np.ones((SIZE, SIZE, 3))
    picture[matte > 0] = np.random.default_rng(0).uniform(0.2, 0.8, (int(matte.sum()), 3))
    return picture, matte


def test_a_perfect_picture_is_sharp_and_shows_nothing_outside():
    truth, matte = make_view()
    scores = score_view(truth, truth, matte, 0.9)
    assert set(scores) == set(SCORES) and scores["ssim"] == 0.9
    assert scores["sharpness"] == 1 and scores["outside"] == 0 and scores["psnr"] == scores["inside"] == 100


def test_psnr_is_of_all_pixels_and_inside_of_those_of_the_matte():
    truth, matte = make_view()
    render = truth.copy()
    render[matte > 0] += 0.1
    scores = score_view(render, truth, matte, 1.0)
    assert scores["inside"] == pytest.approx(20)
    assert scores["psnr"] == pytest.approx(20 - 10 * math.log10(matte.mean()))
    outside = truth.copy()
    outside[:4] = 0
    assert score_view(outside, truth, matte, 1.0)["inside"] == 100


def test_what_is_far_outside_counts_by_its_area():
    truth, matte = make_view()
    render = truth.copy()
    render[4:14, 6:26] = 0.5  # 200 pixels
    assert score_view(render, truth, matte, 1.0)["outside"] == pytest.approx(1e3 * 200 / SIZE**2)
    # A touch of grey is not seen.
    render[4:14, 6:26] = 1 - 1 / 255
    assert score_view(render, truth, matte, 1.0)["outside"] == 0
    # Beside the matte it is its rim.
    render = truth.copy()
    render[63:65, 94] = 0.5
    assert score_view(render, truth, matte, 1.0)["outside"] == 0


def test_sharpness_is_that_of_the_middle_against_the_truth():
    truth, matte = make_view()
    # Half the contrast has a quarter of the squared Laplacian.
    flat = np.where(matte[..., None] > 0, 0.5 + 0.5 * (truth - 0.5), 1)
    assert score_view(flat, truth, matte, 1.0)["sharpness"] == pytest.approx(0.25)
    blurred = cv2.GaussianBlur(truth, (0, 0), 1.5)
    assert score_view(blurred, truth, matte, 1.0)["sharpness"] < 0.1


def rows_at(*yaws):
    return [{"yaw": yaw, **{name: float(i) for name in SCORES}} for i, yaw in enumerate(yaws)]


def test_rows_are_averaged_by_how_far_they_are_turned_to_either_side():
    table = by_yaw(rows_at(-3.0, 4.9, 5.0, -20.0, 40.0), (0, 5, 15, 25, 38))
    assert [(row["from"], row["to"], row["frames"]) for row in table] == [(0, 5, 2), (5, 15, 1), (15, 25, 1)]
    assert [row["psnr"] for row in table] == [0.5, 2, 3]
    lines = as_text(table).splitlines()
    assert len(lines) == 4 and lines[1].split()[:5] == ["0", "to", "5", "2", "0.50"]


@pytest.mark.parametrize("degrees", [-35.0, 0.0, 12.0])
def test_yaw_is_that_of_the_camera(degrees):
    assert yaw_of(camera_to_world(math.radians(degrees))) == pytest.approx(degrees)


def test_a_run_is_scored_by_its_pictures(tmp_path):
    clip, run = read_transforms(write_clip(tmp_path / "clip", num_frames=4)), tmp_path / "run"
    with pytest.raises(UserError, match=r"metrics.json: missing; run: python render.py -m"):
        score_run(run, clip)
    folder = run / "test" / "ours_7"
    (run / "model").mkdir(parents=True)
    (run / "model" / "iteration_7.safetensors").touch()
    views = [{"image_id": clip.frames[i].image_id, "ssim": 0.5 + i / 10} for i in (1, 3)]
    for kind in ("renders", "gt"):
        (folder / kind).mkdir(parents=True)
    for index, view in enumerate(views):
        matte = cv2.imread(str(clip.frames[view["image_id"]].mask_path), 0)
        noise = np.random.default_rng(index).integers(0, 200, (*matte.shape, 3))
        picture = np.where(matte[..., None] > 0, noise, 255).astype(np.uint8)
        for kind in ("renders", "gt"):
            cv2.imwrite(str(folder / kind / f"{index:05d}.png"), picture)
    (folder / "metrics.json").write_text(json.dumps({"per_view": views}))
    rows = score_run(run, clip)
    assert [row["image_id"] for row in rows] == [1, 3] and [row["ssim"] for row in rows] == [0.6, 0.8]
    assert [row["yaw"] for row in rows] == pytest.approx([10, -10])
    assert all(row["sharpness"] == 1 and row["outside"] == 0 and row["inside"] == 100 for row in rows)
