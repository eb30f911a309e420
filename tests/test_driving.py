"""--driving, --expression, --path and --write_csv as a user gives them, on a tiny avatar."""

import json
import shutil

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import torch

import prepare
import render
from arguments import ModelParams, TrainConfig, save_config
from rendering.driving.head_angles import angles_of
from rendering.driving.live_link import ARKIT_NAMES, read_live_link
from scene.avatar import Avatar, save_avatar
from scene.cameras import Camera
from tests.scene.heads import EXPRESSION_SIZE, make_head
from tests.synthetic import camera_to_world, edited_json, write_clip

NAMES = ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft", *(f"extra{i}" for i in range(EXPRESSION_SIZE - 3)))
SIZE = (32, 24)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("output") / "tiny"
    save_config(TrainConfig(model=ModelParams(model_path=path)), path / "config.json")
    camera = Camera.from_camera_to_world(camera_to_world(0), 60, 60, 16, 12, *SIZE)
    motion = torch.rand(40, EXPRESSION_SIZE, generator=torch.Generator().manual_seed(0))
    neutral = torch.zeros(EXPRESSION_SIZE)
    avatar = Avatar(make_head(60), neutral, NAMES, camera, torch.zeros(3), 1, motion, SIZE)
    save_avatar(avatar, path / "model" / "iteration_1.safetensors")
    return path


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A data set whose coefficients have the avatar's names, two of them in another order."""
    root = write_clip(tmp_path_factory.mktemp("data") / "other", 30, num_expressions=EXPRESSION_SIZE)
    with edited_json(root) as document:
        document["exp_names"] = [NAMES[1], NAMES[0], *NAMES[2:]]
    return root


def run(model, *flags):
    render.main(["-m", str(model), "--device", "cpu", *map(str, flags)])


def pictures(model, name):
    folder = model / name / "ours_1"
    return [
        cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted((folder / "renders").glob("*.png"))
    ]


def film_size(path):
    return next(imageio_ffmpeg.read_frames(str(path)))["size"]


def test_another_data_set_drives_the_avatar_beside_its_pictures_without_scores(model, driver, capsys):
    run(model, "--driving", driver, "--write_csv")
    folder = model / "reenacted_by_other" / "ours_1"
    drawn = pictures(model, "reenacted_by_other")
    assert len(drawn) == 30 and drawn[0].shape == (24, 32, 3)
    assert (drawn[0] != drawn[5]).any()
    assert film_size(folder / "video.mp4") == (64, 42)
    assert not (folder / "metrics.json").exists() and not (folder / "gt").exists()
    assert "PSNR" not in capsys.readouterr().out
    # What was drawn can drive it again.
    sequence = read_live_link(folder / "live_link.csv", 1)
    assert len(sequence) == 30 and sequence.rate == pytest.approx(25) and sequence.names == ARKIT_NAMES
    assert 0.1 < sequence.coefficients[:, ARKIT_NAMES.index("jawOpen")].max() <= 1


def test_the_drivers_head_pose_turns_the_head_by_as_much(model, driver):
    run(model, "--driving", driver, "--quiet", "--driving_pose", "--write_csv")
    folder = model / "reenacted_by_other" / "ours_1"
    turned = read_live_link(folder / "live_link.csv", 1).rotations
    document = json.loads((driver / "transforms.json").read_text())
    heads = np.array([np.array(frame["transform_matrix"])[:3, :3].T for frame in document["frames"]])
    relative = heads @ heads[0].T
    assert turned @ turned[0].T == pytest.approx(relative, abs=1e-4)


def test_the_angles_of_a_csv_turn_the_head_as_the_clip_they_were_written_from(model, driver, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(driver, data)
    prepare.main(["--write_csv", str(data), "--fps", "25", "--quiet"])
    take = (data / "live_link.csv").rename(tmp_path / "take.csv")
    turns = {}
    for path in (driver, take):
        run(model, "--driving", path, "--driving_pose", "--write_csv", "--quiet")
        folder = model / f"reenacted_by_{path.stem}" / "ours_1"
        turns[path] = read_live_link(folder / "live_link.csv", 1).rotations
        picture = pictures(model, f"reenacted_by_{path.stem}")[7]
        assert picture.std() > 1
    assert turns[take] == pytest.approx(turns[driver], abs=1e-5)
    # The clip turns to one side, then to the other: by the angle of its cameras, and not mirrored.
    document = json.loads((driver / "transforms.json").read_text())
    heads = np.array([np.array(frame["transform_matrix"])[:3, :3].T for frame in document["frames"]])
    assert turns[take] @ turns[take][0].T == pytest.approx(heads @ heads[0].T, abs=1e-4)
    # What is in the picture: +x is to the right, as HeadYaw's sign says.
    noses = angles_of(heads)[:, 0]
    assert np.sign(noses[5]) == np.sign((heads[5] @ [0, 0, 1])[0]) and abs(noses[5]) > 0.1


def test_a_video_is_tracked_once_and_drives_as_the_data_set_it_becomes(model, driver, tmp_path, monkeypatch):
    tracked = []

    def track_driver(video, folder, quiet):
        tracked.append((video, folder))
        return driver

    monkeypatch.setattr("preparation.driver.track_driver", track_driver)
    take = tmp_path / "take.mp4"
    take.write_bytes(b"a film")
    run(model, "--driving", take, "--quiet", "--max_frames", 2)
    assert tracked == [(take, model / "drivers" / "take")]
    assert len(pictures(model, "reenacted_by_other")) == 2


def test_what_is_no_video_is_one_line_and_exit_code_2(model, tmp_path, capsys):
    take = tmp_path / "take.mp4"
    take.write_bytes(b"no film")
    with pytest.raises(SystemExit) as error:
        run(model, "--driving", take)
    message = capsys.readouterr().err.strip()
    assert error.value.code == 2 and "\n" not in message
    assert "expected the folder of a data set, a video, a .csv or a .json (" in message


def test_a_csv_plays_at_its_rate_or_the_one_that_is_asked_for(model, driver, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(driver, data)
    prepare.main(["--write_csv", str(data), "--fps", "20"])
    assert "30 frames at 20 frames/s" in capsys.readouterr().out
    take = (data / "live_link.csv").rename(tmp_path / "take.csv")
    for flags, count, rate in (([], 30, 20), (["--fps", 10], 15, 10), (["--max_frames", 4], 4, 20)):
        run(model, "--driving", take, *flags)
        folder = model / "reenacted_by_take" / "ours_1"
        assert len(pictures(model, "reenacted_by_take")) == count
        assert next(imageio_ffmpeg.read_frames(str(folder / "video.mp4")))["fps"] == rate
    said = capsys.readouterr().err
    assert "has no extra0" in said


def test_json_along_a_path(model, tmp_path):
    frames = [{"weights": [i / 8, 1], "time": i / 30} for i in range(8)]
    (tmp_path / "voice.json").write_text(json.dumps({"names": ["jawOpen", "eyeBlinkLeft"], "frames": frames}))
    run(model, "--driving", tmp_path / "voice.json", "--path", "orbit", "--quiet")
    assert len(pictures(model, "reenacted_by_voice_novel_view_orbit")) == 8


def test_one_expression_is_one_picture(model, capsys):
    run(model, "--expression", "jawOpen=0.8,eyeBlinkLeft=3")
    said = capsys.readouterr()
    assert len(pictures(model, "expression")) == 1
    assert not (model / "expression" / "ours_1" / "video.mp4").exists()
    assert "--expression: 1 of 2 coefficients clipped to [0, 1]" in said.err
    run(model, "--expression", "jawOpen=0.8,eyeBlinkLeft=3", "--path", "swing", "--num_frames", 3)
    swing = pictures(model, "expression_novel_view")
    assert len(swing) == 3 and np.abs(swing[0].astype(int) - pictures(model, "expression")[0]).max() < 60


def test_pairs_stand_side_by_side_and_alpha_is_written(model, tmp_path):
    run(model, "--path", "spiral", "--num_frames", 3, "--stereo", "--transparent", "--quiet")
    folder = model / "novel_view_spiral" / "ours_1"
    drawn = pictures(model, "novel_view_spiral")
    assert drawn[0].shape == (24, 64, 4)
    assert drawn[0][..., 3].max() > 0 and drawn[0][..., 3].min() < 255
    assert (drawn[0][:, :32] != drawn[0][:, 32:]).any()
    assert film_size(folder / "video.webm") == (64, 24) and not (folder / "video.mp4").exists()
    run(model, "--path", "spiral", "--num_frames", 3, "--transparent", "--video_format", "mov", "--quiet")
    assert film_size(folder / "video.mov") == (32, 24) and not (folder / "video.webm").exists()


def test_a_path_from_a_file_draws_its_cameras(model, tmp_path):
    lens = dict(fx=40, fy=40, cx=20, cy=10, w=40, h=20)
    frames = [camera_to_world(yaw).tolist() for yaw in (0.0, 0.4)]
    (tmp_path / "walk.json").write_text(json.dumps({**lens, "frames": frames}))
    run(model, "--path", tmp_path / "walk.json", "--quiet")
    drawn = pictures(model, "novel_view_walk")
    assert len(drawn) == 2 and drawn[0].shape == (20, 40, 3) and (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--expression", "smile=1"], ["expression 'smile' is unknown; known are jawOpen, eyeBlinkLeft"]),
        (["--expression", "jawOpen"], ["--expression jawOpen: expected NAME=NUMBER,..., found 'jawOpen'"]),
        (["--expression", "jawOpen=wide"], ["found 'jawOpen=wide'"]),
        (["--expression", "jawOpen=1,jawOpen=0"], ["jawOpen occurs twice; expected once"]),
        (["--path", "orbit", "--video_format", "mov"], ["--video_format: only goes with --transparent"]),
        (["--driving", "{empty}"], ["transforms.json: missing"]),
        (
            ["--driving", "{voice}", "--driving_pose"],
            ["--driving_pose: ", "voice.json has no head rotations"],
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(model, tmp_path, capsys, flags, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "voice.json").write_text('{"names": ["jawOpen"], "frames": [{"weights": [1]}]}')
    places = dict(empty=tmp_path / "empty", voice=tmp_path / "voice.json")
    with pytest.raises(SystemExit) as error:
        run(model, *(flag.format(**places) for flag in flags))
    message = capsys.readouterr().err.strip()
    assert error.value.code == 2 and message.startswith("error: ") and "\n" not in message
    assert all(word in message for word in words), message
