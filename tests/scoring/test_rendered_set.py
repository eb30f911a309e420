import json
import shutil

import pytest
import torch

from arguments import parse_metrics_args
from scoring.rendered_set import find_rendered_sets
from tests.scoring.runs import noisy, write_run
from tests.synthetic import write_clip
from utils.errors import UserError
from utils.images import read_png, to_uint8, write_png


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip")


@pytest.fixture
def run(clip, tmp_path):
    return write_run(tmp_path / "out", clip, noisy)


def find(*arguments):
    return find_rendered_sets(parse_metrics_args(["-m", *map(str, arguments)]))


def test_newest_iteration_of_test_and_val_is_found(clip, run):
    write_run(run, clip, noisy, iteration=30)
    write_run(run, clip, noisy, image_ids=(7, 8), name="val", iteration=30)
    write_run(run, clip, noisy, image_ids=(0,), name="train", iteration=30)
    found = find(run)
    assert [(s.name, s.iteration, len(s.views)) for s in found] == [("test", 30, 3), ("val", 30, 2)]
    assert [(s.name, s.iteration) for s in find(run, "--iteration", "7")] == [("test", 7)]
    assert [s.name for s in find(run, "--set", "train")] == ["train"]


def test_views_know_their_frame_and_pairs_are_what_was_written(clip, run):
    (found,) = find(run)
    view = found.views[1]
    assert (view.index, view.image_id, view.position) == (1, 10, 10)
    assert found.clip.frames[view.position].image_id == 10
    image, truth = found.pair(view)
    assert (found.height, found.width) == image.shape[-2:] == truth.shape[-2:]
    assert (to_uint8(image) == read_png(found.folder / "renders" / "00001.png")).all()
    assert not torch.equal(image, truth)


def test_several_runs_are_found_in_order(clip, run, tmp_path):
    other = write_run(tmp_path / "other", clip, noisy)
    assert [s.run for s in find(other, run)] == [other, run]


def test_a_clip_that_moved_is_named_on_the_command_line(clip, run, tmp_path):
    shutil.move(clip, tmp_path / "moved")
    with pytest.raises(UserError, match="clip: no such folder"):
        find(run)
    assert len(find(run, "-s", tmp_path / "moved")) == 1


def broken(run, how):
    folder = run / "test" / "ours_7"
    if how == "gt":
        (folder / "gt" / "00001.png").unlink()
    elif how == "size":
        write_png(folder / "renders" / "00002.png", torch.zeros(3, 8, 8))
    elif how == "truncated":
        path = folder / "renders" / "00000.png"
        path.write_bytes(path.read_bytes()[:100])
    elif how == "metrics":
        (folder / "metrics.json").unlink()
    elif how == "json":
        (folder / "metrics.json").write_text("{")
    elif how == "views":
        (folder / "metrics.json").write_text('{"per_view": [{"index": 0, "image_id": null}]}')
    elif how == "frame":
        text = json.dumps({"per_view": [{"index": 0, "image_id": 99}]})
        (folder / "metrics.json").write_text(text)
    elif how == "config":
        (run / "config.json").unlink()
    elif how == "set":
        shutil.rmtree(run / "test")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("gt", r"gt.00001\.png: missing; expected a render and a gt picture"),
        ("size", r"renders.00002\.png: size 8 x 8; expected 32 x 24"),
        ("truncated", r"renders.00000\.png: .*expected a complete image"),
        ("metrics", r"ours_7: holds no metrics\.json; let render\.py finish"),
        ("json", r"metrics\.json: cannot be read as JSON"),
        ("views", r"metrics\.json: per_view: expected index and image_id"),
        ("frame", r"image_id 99: no such frame in .*clip"),
        ("config", r"out: holds no config\.json"),
        ("set", r"out: nothing rendered in test or val; run render\.py"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(run, how, message):
    broken(run, how)
    with pytest.raises(UserError, match=message) as refusal:
        find(run)
    assert "\n" not in str(refusal.value)


def test_an_iteration_or_a_set_that_was_not_rendered_is_named(run):
    with pytest.raises(UserError, match=r"--iteration 8: not rendered in .*, which holds 7"):
        find(run, "--iteration", "8")
    with pytest.raises(UserError, match=r"--set val: no ours_7 in .*val; run render\.py first"):
        find(run, "--set", "test", "val")
