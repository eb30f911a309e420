"""import_checkpoint.py, then render.py, as a user types them."""

import json

import numpy as np
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


def cameras_json(checkpoint, clip, moved=0.0):
    """What the published code writes beside its checkpoints, for all frames but the first two."""
    entries = []
    for frame in json.loads((clip / "transforms.json").read_text())["frames"][2:]:
        pose = np.array(frame["transform_matrix"]) @ np.diag([1, -1, -1, 1])
        position = (pose[:3, 3] + moved).tolist()
        entries.append(dict(img_name=frame["img_id"], position=position, rotation=pose[:3, :3].tolist()))
    (checkpoint / "cameras.json").write_text(json.dumps(entries))


def test_frames_that_nobody_looked_at_are_left_out_and_cameras_compared(published, tmp_path, capsys):
    checkpoint, _ = published
    clip = write_clip(tmp_path / "long", num_frames=60, width=32, height=24)
    cameras_json(checkpoint, clip)
    assert run(checkpoint, "-s", clip, "-m", tmp_path / "out") == 0
    model = json.loads((tmp_path / "out" / "config.json").read_text())["model"]
    assert (model["test_frames"], model["val_frames"]) == (50, 2)
    cameras_json(checkpoint, clip, moved=0.01)
    assert run(checkpoint, "-s", clip, "-m", tmp_path / "other") == 2
    assert "another camera" in capsys.readouterr().err


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


def test_overwrite_leaves_nothing_of_the_avatar_before(published, tmp_path, capsys):
    """render.py takes the last iteration that is there: it would be that of the avatar before."""
    checkpoint, clip = published
    out = tmp_path / "out"
    assert run(checkpoint, "-s", clip, "-m", out) == 0
    render.main(["-m", str(out), "--skip_train", "--device", "cpu", "--quiet"])
    (out / "notes.txt").write_text("mine")
    write_checkpoint(tmp_path / "earlier", size=5, iteration=3_600)
    assert run(tmp_path / "earlier", "-s", tmp_path, "-m", out, "--overwrite") == 2
    assert [path.name for path in (out / "model").iterdir()] == ["iteration_4000.safetensors"]
    assert run(tmp_path / "earlier", "-s", clip, "-m", out, "--overwrite") == 0
    assert [path.name for path in (out / "model").iterdir()] == ["iteration_3600.safetensors"]
    assert not (out / "test").exists() and (out / "notes.txt").exists()


def test_a_clip_of_one_frame_holds_none_out(published, tmp_path):
    checkpoint, _ = published
    clip = write_clip(tmp_path / "one", num_frames=1, width=32, height=24)
    assert run(checkpoint, "-s", clip, "-m", tmp_path / "out") == 0
    render.main(["-m", str(tmp_path / "out"), "--device", "cpu", "--quiet"])
    assert len(list((tmp_path / "out/train/ours_4000/renders").iterdir())) == 1


@pytest.mark.parametrize("resolution", ["0", "3"])
def test_a_size_that_no_run_can_have_is_refused_before_anything_is_written(
    published, tmp_path, capsys, resolution
):
    checkpoint, clip = published
    (checkpoint / "cfg_args").write_text(f"Namespace(resolution={resolution}, eval=True)")
    assert run(checkpoint, "-s", clip, "-m", tmp_path / "out") == 2
    assert f"cfg_args: resolution {resolution}: expected" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
