import shutil

import numpy as np
import pytest
import torch

from arguments import ScoringParams
from scene.cameras import Camera
from scoring.regions import Rectangle, RegionFinder, project_box
from scoring.rendered_set import find_rendered_sets
from tests.scoring.runs import noisy, write_run
from tests.synthetic import DISTANCE, camera_to_world, write_clip

FX, WIDTH, HEIGHT = 96.0, 64, 48


def camera(yaw=0.0, **values):
    lens = {"fx": FX, "fy": FX, "cx": WIDTH / 2, "cy": HEIGHT / 2, "width": WIDTH, "height": HEIGHT}
    return Camera.from_camera_to_world(camera_to_world(yaw), **{**lens, **values})


def test_a_box_before_the_camera_lies_where_the_pinhole_says():
    rectangle = project_box(camera(), (-0.2, 0.4, -0.3, 0.1, 0.5))
    scale = FX / (DISTANCE - 0.5)
    assert rectangle.left == np.floor(WIDTH / 2 - 0.2 * scale)
    assert rectangle.right == np.ceil(WIDTH / 2 + 0.4 * scale)
    # y is up in the head and down in the image.
    assert rectangle.top == np.floor(HEIGHT / 2 - 0.1 * scale)
    assert rectangle.bottom == np.ceil(HEIGHT / 2 + 0.3 * scale)


def test_the_rectangle_holds_every_point_of_the_box_from_any_side():
    box = (-0.2, 0.4, -0.3, 0.1, 0.5)
    points = np.random.default_rng(0).uniform([-0.2, -0.3, 0.5], [0.4, 0.1, 0.5], (200, 3))
    for yaw in (-0.4, 0.1, 0.7):
        view = camera(yaw)
        seen = torch.tensor(points).float() @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
        x, y = FX * seen[:, 0] / seen[:, 2] + view.cx, FX * seen[:, 1] / seen[:, 2] + view.cy
        left, top, right, bottom = project_box(view, box)
        assert left <= x.min() and x.max() <= right and top <= y.min() and y.max() <= bottom


def test_a_rectangle_follows_the_size_of_the_image_and_a_crop():
    box = (-0.2, 0.4, -0.3, 0.1, 0.5)
    small, large = project_box(camera(), box), project_box(camera().scaled(4 * WIDTH, 4 * HEIGHT), box)
    assert np.abs(4 * np.array(small) - np.array(large)).max() <= 4
    cropped = project_box(camera().cropped(3, 5, WIDTH - 3, HEIGHT - 5), box)
    assert cropped == (small.left - 3, small.top - 5, small.right - 3, small.bottom - 5)


def test_a_box_outside_or_behind_is_empty_and_one_at_the_border_is_cut():
    for box in ((5, 6, 0, 1, 0), (-1, 1, -1, 1, DISTANCE + 1), (-1, 1, -1, 1, DISTANCE - 0.1)):
        assert not project_box(camera(), box).mask(HEIGHT, WIDTH).any()
    assert project_box(camera(), (-9, 9, -9, 9, 0)) == Rectangle(0, 0, WIDTH, HEIGHT)
    assert project_box(camera(), (-9, 9, -9, 9, 0)).mask(HEIGHT, WIDTH).all()


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "out", write_clip(tmp_path / "clip"), noisy)


def regions(run, **options):
    params = ScoringParams(model_path=(run,), **options)
    (found,) = find_rendered_sets(params)
    finder = RegionFinder(found, params)
    return finder, finder.find(found.views[0])


def test_person_is_the_matte_and_head_its_upper_half_that_is_blue(run):
    finder, found = regions(run)
    y, x = np.mgrid[:24, :32] + 0.5
    # The matte is over one half inside the radius.
    ball = np.hypot(x - 16, y - 12) < 0.35 * 24
    assert np.array_equal(found.person, ball)
    assert np.array_equal(found.head, ball & (y < 12))
    assert finder.notice == ""
    assert found.details.keys() == {"mouth", "eyes"}


def test_without_parsing_the_head_is_the_matte_and_one_line_says_so(run):
    shutil.rmtree(run.parent / "clip" / "parsing")
    finder, found = regions(run)
    assert np.array_equal(found.head, found.person)
    assert finder.notice.endswith("no parsing/; the head is the matte")


def test_a_head_only_run_has_no_person_below_the_head(run, tmp_path):
    head_run = write_run(tmp_path / "head", run.parent / "clip", noisy, only_head=True)
    _, found = regions(head_run)
    assert np.array_equal(found.person, found.head)
    assert np.array_equal(found.head, regions(run)[1].head)


def test_boxes_of_the_options_are_used(run):
    _, found = regions(run, mouth_box=(-9.0, 9.0, -9.0, 9.0, 0.0))
    assert found.details["mouth"] == Rectangle(0, 0, 32, 24)
    assert found.details["eyes"] != Rectangle(0, 0, 32, 24)
