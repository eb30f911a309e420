"""--audio as a user gives it, on a tiny avatar: films are decoded again, pictures and sound."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import torch

import render
from arguments import ModelParams, TrainConfig, save_config
from rendering.driving.live_link import ARKIT_NAMES, read_live_link
from scene.avatar import Avatar, save_avatar
from scene.cameras import Camera
from tests.rendering.driving.speech.sounds import vowel, write
from tests.scene.heads import EXPRESSION_SIZE, make_head
from tests.synthetic import camera_to_world

NAMES = ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft", *(f"extra{i}" for i in range(EXPRESSION_SIZE - 3)))
JAW = ARKIT_NAMES.index("jawOpen")
RATE = 16000


def make_model(path, names=NAMES):
    save_config(TrainConfig(model=ModelParams(model_path=path)), path / "config.json")
    camera = Camera.from_camera_to_world(camera_to_world(0), 60, 60, 16, 12, 32, 24)
    motion = 0.6 * torch.rand(40, EXPRESSION_SIZE, generator=torch.Generator().manual_seed(0))
    motion[0], motion[1] = 0, 0.6
    avatar = Avatar(
        make_head(60), torch.zeros(EXPRESSION_SIZE), names, camera, torch.zeros(3), 1, motion, (32, 24)
    )
    save_avatar(avatar, path / "model" / "iteration_1.safetensors")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("output") / "tiny")


@pytest.fixture(scope="module")
def burst(tmp_path_factory):
    """Silence, a vowel from 1 to 2 s, silence up to 2.5 s."""
    path = tmp_path_factory.mktemp("sounds") / "burst.wav"
    samples = np.zeros(round(2.5 * RATE))
    samples[RATE : 2 * RATE] = vowel("a", 1)
    write(path, samples)
    return path


def run(model, *flags):
    render.main(["-m", str(model), "--device", "cpu", "--quiet", *map(str, flags)])


def decoded(path):
    """Number of pictures, and samples at RATE, of a film."""
    frames = imageio_ffmpeg.read_frames(str(path))
    next(frames)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:a:0"]
    command += ["-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
    sound = subprocess.run(command, capture_output=True, check=True).stdout
    return sum(1 for _ in frames), np.frombuffer(sound, "<f4")


def onset(sound):
    return np.flatnonzero(np.abs(sound) > 0.1)[0] / RATE


@pytest.mark.parametrize(
    ("flags", "film", "fps"),
    [
        ((), "video.mp4", 25),
        (("--fps", 30), "video.mp4", 30),
        (("--transparent",), "video.webm", 25),
        (("--transparent", "--video_format", "mov"), "video.mov", 25),
    ],
)
def test_sound_and_pictures_of_the_film_are_as_long_and_in_time(model, burst, flags, film, fps):
    run(model, "--audio", burst, "--write_csv", *flags)
    folder = model / "spoken_burst" / "ours_1"
    num_frames, sound = decoded(folder / film)
    assert num_frames == np.ceil(2.5 * fps)
    assert abs(len(sound) / RATE - num_frames / fps) <= 1 / fps
    assert onset(sound) == pytest.approx(1, abs=1 / fps)
    jaw = read_live_link(folder / "live_link.csv", 1).coefficients[:, JAW]
    assert abs(int((jaw > jaw.max() / 2).argmax()) - fps) <= 1
    # No farther than the avatar's clip went.
    assert 0.3 < jaw.max() <= 0.6


def test_a_quick_look_is_the_beginning_with_its_sound(model, burst):
    run(model, "--audio", burst, "--max_frames", 30)
    num_frames, sound = decoded(model / "spoken_burst" / "ours_1" / "video.mp4")
    assert num_frames == 30 and abs(len(sound) / RATE - 1.2) <= 0.04
    assert onset(sound) == pytest.approx(1, abs=0.04)


def test_along_a_path_the_face_speaks_once_and_then_rests(model, burst):
    run(model, "--audio", burst, "--novel_view", "--num_frames", 80, "--write_csv")
    folder = model / "spoken_burst_novel_view" / "ours_1"
    num_frames, sound = decoded(folder / "video.mp4")
    assert num_frames == 80 and abs(len(sound) / RATE - 3.2) <= 0.04
    jaw = read_live_link(folder / "live_link.csv", 1).coefficients[:, JAW]
    assert jaw[30] > 0.3 and np.abs(jaw[60:] - jaw[-1]).max() < 0.01


def test_strength_0_keeps_the_head_still(model, burst):
    turns = []
    for strength in (1, 0):
        run(model, "--audio", burst, "--write_csv", "--head_motion", strength)
        turns.append(read_live_link(model / "spoken_burst" / "ours_1" / "live_link.csv", 1).rotations)
    assert np.abs(turns[0] - turns[0][0]).max() > 0.005
    assert np.abs(turns[1] - turns[1][0]).max() < 1e-6


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (("--audio", "none.wav"), "--audio none.wav: no such file"),
        (("--audio", "a.wav", "--expression", "jawOpen=1"), "both say what the face does"),
        (("--audio", "a.wav", "--audio_model", "none.onnx"), "none.onnx: no such file"),
        (("--head_motion", "0.5"), "--head_motion: only goes with --audio"),
        (("--audio_seed", "1"), "--audio_seed: only goes with --audio"),
        (("--audio", "a.wav", "--novel_view", "--head_motion", "1"), "--head_motion: contradicts"),
    ],
)
def test_what_cannot_be_is_one_line(model, capsys, flags, what):
    with pytest.raises(SystemExit) as stop:
        run(model, *flags)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and what in error and error.count("\n") == 1


def test_an_avatar_without_arkits_names_is_told(tmp_path, burst, capsys):
    model = make_model(tmp_path / "tiny", tuple(f"extra{i}" for i in range(EXPRESSION_SIZE)))
    with pytest.raises(SystemExit):
        run(model, "--audio", burst)
    assert "--audio: expected an avatar with ARKit's coefficients, found extra0" in capsys.readouterr().err
