"""The page that flips between methods, opened from the disk."""

import base64
import io
import json
import re

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest

import metrics
from tests.scoring.runs import noisy, write_run
from tests.synthetic import write_clip

# Mean over pixels, grey levels: JPEG at quality 92 of pictures of noise has 4.
JPEG_ERROR = 5
PIXELS = """() => document.getElementById('picture').toDataURL('image/png').split(',')[1]"""


def darkened(truth, image_id):
    return 0.5 * truth


def write_comparison(folder, *flags):
    clip = write_clip(folder / "clip", width=64, height=48, num_frames=24)
    ids = tuple(range(8, 24))
    runs = [write_run(folder / name, clip, how, image_ids=ids) for name, how in RUNS.items()]
    metrics.main(["-m", *map(str, runs), "--device", "cpu", "--quiet", *flags])
    return runs[0] / "comparison" / "test" / "index.html"


RUNS = {"one<!--<script>": darkened, "two": noisy}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return write_comparison(tmp_path_factory.mktemp("page"))


@pytest.fixture
def page(browser, page_file):
    page, requests, errors = browser.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(page_file.as_uri())
    drawn(page, 0, 1)
    yield page
    assert errors == []
    assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]
    page.close()


def drawn(page, frame, method, difference="false"):
    page.locator(f'body[data-drawn="{frame}/{method}/{difference}"]').wait_for(state="attached")
    return imageio.imread(io.BytesIO(base64.b64decode(page.evaluate(PIXELS))))[..., :3].astype(float)


def written(page_file, kind, index, run="one<!--<script>"):
    path = page_file.parents[3] / run / "test" / "ours_7" / kind / f"{index:05d}.png"
    return cv2.imread(str(path))[..., ::-1].astype(float)


def mean_error(shown, expected):
    assert shown.shape == expected.shape
    return np.abs(shown - expected).mean()


@pytest.mark.browser
def test_keys_clicks_and_the_slider_show_the_pictures_of_the_files(page, page_file):
    one, two, truth = (
        written(page_file, *which) for which in (("renders", 0), ("renders", 0, "two"), ("gt", 0))
    )
    # What is told apart differs by more than JPEG does.
    assert min(mean_error(one, two), mean_error(one, truth), mean_error(two, truth)) > 2 * JPEG_ERROR
    assert mean_error(drawn(page, 0, 1), one) < JPEG_ERROR
    page.keyboard.press("2")
    assert mean_error(drawn(page, 0, 2), two) < JPEG_ERROR
    page.click("#picture")
    assert mean_error(drawn(page, 0, 0), truth) < JPEG_ERROR
    page.keyboard.press("Space")
    drawn(page, 0, 1)
    page.keyboard.press("Shift+Space")
    drawn(page, 0, 0)
    page.get_by_role("button", name="two").click()
    drawn(page, 0, 2)
    page.keyboard.press("End")
    assert mean_error(drawn(page, 15, 2), written(page_file, "renders", 15, "two")) < JPEG_ERROR
    page.locator("#slider").fill("5")
    assert mean_error(drawn(page, 5, 2), written(page_file, "renders", 5, "two")) < JPEG_ERROR
    assert "img_id 13: frame 6 of 16" in page.inner_text("#frame")


@pytest.mark.browser
def test_the_difference_is_the_mean_of_the_colours(page, page_file):
    page.keyboard.press("d")
    shown = drawn(page, 0, 1, "true")
    error = np.abs(written(page_file, "renders", 0) - written(page_file, "gt", 0)).mean(axis=2) / 255
    heat = 3 * np.minimum(1, error / 0.25)
    expected = 255 * np.clip(heat[..., None] - np.arange(3), 0, 1)
    # An error of one grey level is 12 in heat.
    assert mean_error(shown, expected) < 12
    page.keyboard.press("0")
    assert drawn(page, 0, 0, "true").max() == 0


@pytest.mark.browser
def test_an_address_brings_back_what_was_shown(browser, page_file):
    page = browser.new_page()
    page.goto(f"{page_file.as_uri()}#frame=3&method=2&difference=1")
    drawn(page, 3, 2, "true")
    assert page.inner_text("tbody#scores tr.shown td:first-child") == "two"
    page.close()


def data_of(page_file):
    text = page_file.read_text()
    assert text.count("</script>") == 2
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_scores_and_names_of_the_page_are_those_of_the_files(page_file):
    data = data_of(page_file)
    assert data["methods"] == list(RUNS) and len(data["frames"]) == len(data["ids"]) == 16
    render, truth = (written(page_file, kind, 4) / 255 for kind in ("renders", "gt"))
    psnr = -10 * np.log10(((render - truth) ** 2).mean())
    assert data["scores"][0][4][0] == pytest.approx(psnr, abs=1e-3)


def test_a_small_page_holds_fewer_frames_the_worst_and_best_among_them(tmp_path, monkeypatch):
    from scoring import comparison_page

    full = write_comparison(tmp_path / "full")
    numbers = data_of(full)
    bound = full.stat().st_size * 0.6
    monkeypatch.setattr(comparison_page, "WANTED_FRAMES", 1)
    # Below what a user may ask for.
    monkeypatch.setattr("arguments.scoring.check_ranges", lambda params: None)
    small = write_comparison(tmp_path / "small", "--page_megabytes", f"{bound / 1e6:.4f}")
    assert small.stat().st_size <= bound
    places = [frame["place"] for frame in data_of(small)["frames"]]
    mean = np.mean([[row[0] for row in rows] for rows in numbers["scores"]], axis=0)
    assert 2 < len(places) < 16 and {int(mean.argmin()), int(mean.argmax())} <= set(places)


def test_frames_of_a_small_page_are_spread():
    from scoring.comparison_page import _spreading

    order = list(_spreading(100))
    assert sorted(order) == list(range(100))
    for count in (5, 10, 30):
        assert np.diff(sorted([0, *order[:count], 99])).max() <= 2.6 * 100 / count
    assert list(_spreading(1)) == [0]


def test_a_page_without_room_for_a_frame_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("arguments.scoring.check_ranges", lambda params: None)
    with pytest.raises(SystemExit) as stop:
        write_comparison(tmp_path, "--page_megabytes", "0.02")
    assert stop.value.code == 2
