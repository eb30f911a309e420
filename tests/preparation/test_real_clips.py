"""Clips of a real face through the whole script, with the real networks; skipped where those are not there.

The clips are made from the demo's pictures: 60 of them, as if filmed at 25 frames per second.
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import prepare as script
from preparation.data_set.images_and_arrays import read_image
from preparation.geometry.rigid import mean_rotation
from preparation.models.model_files import FACE_LANDMARKER, SELFIE_SEGMENTATION
from preparation.tracking import poses_from_pixels
from scene.dataset_readers import Clip, read_clip
from tests.preparation.real_models import local
from tests.preparation.synthetic_head import angles
from tests.preparation.videos import ffmpeg
from utils.video import VideoWriter

DEMO = Path(__file__).resolve().parents[2] / "data/demo"
COUNT, RATE = 60, 25.0


@pytest.fixture(autouse=True)
def _networks(monkeypatch):
    local(FACE_LANDMARKER), local(SELFIE_SEGMENTATION)
    # Quicker, and not what is tested here.
    monkeypatch.setattr(poses_from_pixels, "SAMPLE_FRAMES", 10)


def write(path: Path, change: Callable[[np.ndarray, int], np.ndarray] = lambda frame, index: frame) -> Path:
    with VideoWriter(path, fps=RATE) as video:
        for index in range(COUNT):
            video.write(change(read_image(DEMO / f"ori_imgs/{index}.jpg"), index))
    return path


def prepare(video: Path, *options: str) -> tuple[Clip, dict]:
    """The data set that the script makes, and its report."""
    out = video.with_suffix("")
    script.main([str(video), str(out), "--size", "256", "--parsing", "color", "--quiet", *options])
    return read_clip(out, only_head=True), json.loads((out / "report/report.json").read_text())


def refusal(video: Path, capsys) -> str:
    """The one line with which the script refuses a video."""
    with pytest.raises(SystemExit) as stopped:
        prepare(video)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1, said
    assert not (video.with_suffix("") / "transforms.json").exists()
    return said


def covered(frame: np.ndarray) -> np.ndarray:
    frame = frame.copy()
    frame[15:205, 45:215] = 128
    return frame


def ids(clip: Clip) -> list[int]:
    return [frame.image_id for frame in clip.frames]


def turns_between(first: Clip, second: Clip) -> np.ndarray:  # [F] degrees
    """How differently two data sets turn the head, up to a turn that all frames share."""
    one, other = (
        np.stack([frame.camera_to_world[:3, :3] for frame in clip.frames[:COUNT]]) for clip in (first, second)
    )
    return angles(one, mean_rotation(one @ other.transpose(0, 2, 1)) @ other)


def test_poses_are_those_that_another_program_found(tmp_path):
    clip, report = prepare(write(tmp_path / "me.mp4"))
    assert ids(clip) == list(range(COUNT))
    difference = turns_between(clip, read_clip(DEMO))
    # Both err by about a pixel at 512, half a degree.
    assert difference.mean() < 0.7 and difference.max() < 2
    assert report["photometric_px"]["mean"] < report["photometric_px"]["mean_with_landmark_poses"]
    assert report["dropped"] == {}


def test_two_people_are_refused(tmp_path, capsys):
    video = write(tmp_path / "two.mp4", lambda frame, index: np.concatenate([frame, frame[:, ::-1]], axis=1))
    assert f"two faces in {COUNT} of {COUNT} frames; expected one person" in refusal(video, capsys)


def test_a_face_in_less_than_half_of_the_frames_is_refused(tmp_path, capsys):
    video = write(tmp_path / "me.mp4", lambda frame, index: frame if index < 24 else covered(frame))
    assert f"in 24 of {COUNT} frames (36 without a face); expected at least 50%" in refusal(video, capsys)


def test_a_face_in_half_of_the_frames_will_do(tmp_path):
    video = write(tmp_path / "me.mp4", lambda frame, index: frame if index % 20 < 10 else covered(frame))
    clip, report = prepare(video)
    assert ids(clip) == [i for i in range(COUNT) if i % 20 < 10]
    assert report["dropped"] == {str(i): "no face" for i in range(COUNT) if i % 20 >= 10}


def test_a_phone_clip_is_the_upright_one(tmp_path):
    upright = write(tmp_path / "upright.mp4", lambda frame, index: frame[:, 28:228])
    turned = write(tmp_path / "turned.mp4", lambda frame, index: np.rot90(frame[:, 28:228]))
    phone = tmp_path / "phone.mp4"
    ffmpeg("-display_rotation", "270", "-i", turned, "-c", "copy", phone)
    wanted, _ = prepare(upright)
    found, report = prepare(phone)
    assert report["crop"]["side"] <= 200
    assert ids(found) == ids(wanted)
    difference = read_image(found.frames[9].image_path).astype(int) - read_image(wanted.frames[9].image_path)
    # Grey levels: two encodings of the same picture.
    assert np.abs(difference).mean() < 3
    assert turns_between(found, wanted).mean() < 0.3


def test_odd_sizes_are_taken(tmp_path):
    whole, odd = write(tmp_path / "whole.mp4"), tmp_path / "odd.mkv"
    ffmpeg("-i", whole, "-vf", "format=rgb24,crop=201:243:29:7", "-c:v", "ffv1", odd)
    clip, report = prepare(odd)
    assert len(clip.frames) == COUNT
    assert report["crop"]["side"] == 201


def test_a_variable_rate_drops_what_is_repeated(tmp_path):
    constant, variable = write(tmp_path / "constant.mp4"), tmp_path / "variable.mkv"
    # Every 12th frame is missing.
    ffmpeg(
        *("-i", constant, "-vf", "select='not(eq(mod(n,12),5))'", "-fps_mode", "vfr"),
        *("-c:v", "libx264", "-crf", "10", variable),
    )
    clip, report = prepare(variable)
    assert set(report["dropped"].values()) <= {"repeated frame"}
    assert len(clip.frames) + len(report["dropped"]) == pytest.approx(2.4 * report["rate"], abs=1.5)
    frames = [read_image(frame.image_path) for frame in clip.frames]
    assert all(not np.array_equal(*pair) for pair in zip(frames[1:], frames[:-1], strict=True))


def test_a_face_that_is_too_small_is_refused(tmp_path, capsys):
    small = write(tmp_path / "me.mp4", lambda frame, index: cv2.resize(frame, (128, 128)))
    assert "expected at least 80, better 250" in refusal(small, capsys)


def test_a_photograph_is_refused_however_noisy_its_film(tmp_path, capsys):
    photo, random = read_image(DEMO / "ori_imgs/0.jpg"), np.random.default_rng(0)

    def filmed(frame: np.ndarray, index: int) -> np.ndarray:
        return np.clip(photo + random.normal(scale=2, size=photo.shape), 0, 255).astype(np.uint8)

    assert "no motion" in refusal(write(tmp_path / "me.mp4", filmed), capsys)
