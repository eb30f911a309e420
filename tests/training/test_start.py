"""How a run begins."""

import numpy as np
import pytest
import torch

from arguments import parse_train_args
from scene.avatar import typical_camera
from tests.synthetic import DISTANCE, edited_json, write_clip
from training import start
from training.start import architecture_for, begin, fresh_state, open_data, signal_spread
from utils.errors import UserError

CPU = torch.device("cpu")
SMALL = ["--preset", "quick", "--device", "cpu", "--quiet"]
SMALL += ["--eval", "--test_frames", "3", "--initial_gaussians", "50"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("data") / "clip", num_frames=12)


def options(clip, model, *flags):
    return parse_train_args(["-s", str(clip), "-m", str(model), *SMALL, *flags])


def test_the_clip_is_split_and_composited_as_the_options_say(clip, tmp_path):
    data = open_data(options(clip, tmp_path / "run", "-w", "--val_frames", "2", "-r", "2"), CPU)
    assert (len(data.train), data.split.val, data.split.test) == (7, (7, 8), (9, 10, 11))
    assert data.background.tolist() == [1, 1, 1]
    frame = data.open_frames((9,))[0]
    assert frame.image_id == 9 and frame.image.shape == (3, 12, 16)
    assert (frame.image[:, frame.matte == 0] == 1).all()


def test_the_cube_is_no_wider_than_what_the_cameras_see(clip, tmp_path):
    config = options(clip, tmp_path / "run")
    data = open_data(config, CPU)
    architecture = architecture_for(config, data.clip, data.train.cameras)
    # The focal length is 3 widths, the camera 3 units away: 1 unit is in view.
    assert architecture.half_side == pytest.approx(0.5 * 1.1 * DISTANCE / 3)
    assert architecture.expression_size == 5 and architecture.sh_degree == 1
    assert architecture.num_blendshapes == config.network.num_blendshapes
    wide = [camera.cropped(-1_000, -1_000, 2_032, 2_024) for camera in data.train.cameras]
    assert architecture_for(config, data.clip, wide).half_side == 1.3


def test_a_torso_is_known_or_predicted_only_where_the_data_have_its_motion(clip, tmp_path):
    with_torso = write_clip(tmp_path / "torso", num_frames=12)
    with edited_json(with_torso) as document:
        for frame in document["frames"]:
            frame["torso_transform"] = np.eye(4).tolist()
    found = {}
    for root in (clip, with_torso):
        for flags in (
            ("--no-torso_prediction",),
            ("--torso_prediction",),
            ("--torso_prediction", "--only_head"),
        ):
            config = options(root, tmp_path / "run", *flags)
            data = open_data(config, CPU)
            a = architecture_for(config, data.clip, data.train.cameras)
            found[(root.name, *flags)] = a.torso_tracking, a.torso_prediction
    predicted = found.pop(("torso", "--torso_prediction"))
    assert predicted == (True, True) and set(found.values()) == {(False, False)}
    config = options(clip, tmp_path / "run", "--torso_tracking")
    with pytest.raises(UserError, match=r"--torso_tracking.*no torso_transform.*--torso-only"):
        data = open_data(config, CPU)
        architecture_for(config, data.clip, data.train.cameras)


def test_the_first_gaussians_lie_on_the_outline_of_a_typical_frame(clip, tmp_path, monkeypatch):
    config = options(clip, tmp_path / "run")
    data = open_data(config, CPU)
    seen = []
    monkeypatch.setattr(start, "points_on_surface", lambda *args: seen.append(args) or torch.rand(50, 3))
    state = fresh_state(config, data, CPU)
    (camera, matte, half_side, num, _), frames = seen[0], data.train
    assert camera is typical_camera(frames.cameras) and num == 50
    assert torch.equal(matte, frames[frames.cameras.index(camera)].matte)
    assert half_side == state.head.architecture.half_side and len(state.head.gaussians) == 50


def test_a_mean_pose_of_the_training_frames_is_kept(clip, tmp_path):
    config = options(clip, tmp_path / "run")
    data = open_data(config, CPU)
    mean = torch.stack([camera.world_to_camera for camera in data.train.cameras]).mean(dim=0)
    found = fresh_state(config, data, CPU).head.mean_pose
    torch.testing.assert_close(found[:, 3], mean[:3, 3])
    torch.testing.assert_close(found[:, :3] @ found[:, :3].T, torch.eye(3))
    assert (found[:, :3] - mean[:3, :3]).abs().max() < 0.02


def test_the_spread_of_the_signal_is_that_of_its_numbers(clip, tmp_path):
    config = options(clip, tmp_path / "run", "--no-pose_conditioning", "--expression_gain", "4")
    data = open_data(config, CPU)
    spread = signal_spread(fresh_state(config, data, CPU).head, data.train)
    expressions = np.stack([record.expression for record in data.train.records])
    np.testing.assert_allclose(spread.numpy(), 4 * expressions.std(axis=0), rtol=1e-5)


def test_a_run_begins_with_its_files_and_says_what_it_is(clip, tmp_path):
    with begin(options(clip, tmp_path / "run")) as session:
        assert session.state.iteration == 0 and session.data.clip.root == clip
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "config.json",
        "cameras.json",
        "input.ply",
    }
    log = (tmp_path / "run" / "train.log").read_text()
    assert "9 training, 0 validation, 3 held-out frames of 32 x 24, 5 expression coefficients" in log
    assert "preset quick on CPU" in log and "start-up took" in log


def test_a_matte_without_a_person_is_named_with_the_way_out(tmp_path):
    root = write_clip(tmp_path / "clip", num_frames=12)
    config = options(root, tmp_path / "run")
    data = open_data(config, CPU)
    empty = data.train[0]._replace(matte=torch.zeros(24, 32))
    data.train.__class__ = type("Empty", (type(data.train),), {"__getitem__": lambda self, i: empty})
    with pytest.raises(UserError, match=r"--start_on_surface: .*no pixel.*--no-start_on_surface"):
        fresh_state(config, data, CPU)
