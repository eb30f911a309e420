"""import_checkpoint.py, then render.py, as a user types them."""

import json

import pytest

import import_checkpoint
import render
from tests.scene.published import write_checkpoint
from tests.synthetic import write_clip
from utils.images import read_png


@pytest.fixture
def published(tmp_path):
    write_checkpoint(tmp_path / "published", size=5)
    clip = write_clip(tmp_path / "clip", num_frames=6, width=32, height=24)
    return tmp_path / "published", clip


def run(*words) -> int:
    try:
        import_checkpoint.main([str(word) for word in words])
    except SystemExit as end:
        return end.code
    return 0


def test_an_imported_avatar_is_rendered_and_scored(published, tmp_path, capsys):
    checkpoint, clip = published
    assert run(checkpoint, "-s", clip, "-m", tmp_path / "out") == 0
    assert "iteration 4000, 40 Gaussians" in capsys.readouterr().out
    render.main(["-m", str(tmp_path / "out"), "--skip_train", "--device", "cpu", "--quiet"])
    render.main(
        ["-m", str(tmp_path / "out"), "--novel_view", "--num_frames", "2", "--device", "cpu", "--quiet"]
    )
    renders = tmp_path / "out" / "test" / "ours_4000" / "renders"
    assert read_png(renders / "00000.png").shape == (24, 32, 3)
    assert json.loads((renders.parent / "metrics.json").read_text())["num_views"] == 5


@pytest.mark.parametrize("spoil", ["clip", "iteration", "again", "folder", "none"])
def test_bad_input_is_one_line_and_leaves_nothing(published, tmp_path, capsys, spoil):
    checkpoint, clip = published
    words = [checkpoint, "-s", clip, "-m", tmp_path / "out"]
    if spoil == "clip":
        words[2] = write_clip(tmp_path / "other", num_frames=6, num_expressions=6)
    elif spoil == "iteration":
        words += ["--iteration", 5]
    elif spoil == "again":
        assert run(*words) == 0
        capsys.readouterr()
    elif spoil == "folder":
        words[0] = tmp_path
    else:
        words = words[1:]
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert spoil == "again" or not (tmp_path / "out" / "model").exists()
