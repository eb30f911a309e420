"""A three-second clip from video to data set, with stubs in place of the networks."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

import prepare as script
from arguments import PreparationParams
from preparation import pipeline, steps
from preparation.data_set.images_and_arrays import read_image
from preparation.data_set.layout import fingerprint
from preparation.tracking import face_cache, poses_from_pixels
from scene.dataset_readers import read_clip
from tests.preparation.conftest import NUM_FRAMES, RATE
from tests.preparation.synthetic_head import (
    FOCAL,
    NAMES,
    StubTracker,
    angles,
    camera,
    observe,
    read_number,
)
from tests.preparation.videos import ffmpeg
from utils.errors import UserError
from utils.json_files import read_json


@pytest.fixture
def options(clip, tmp_path, monkeypatch) -> PreparationParams:
    # Quicker, and not what is tested here.
    monkeypatch.setattr(poses_from_pixels, "SAMPLE_FRAMES", 10)
    return PreparationParams(clip.path, tmp_path / "data", focal=FOCAL, size=256, torso=False, quiet=True)


def test_the_folder_is_one_that_training_reads(finished):
    out, _ = finished
    clip = read_clip(out, only_head=True)
    assert len(clip.frames) == NUM_FRAMES
    assert clip.expression_names == NAMES
    assert clip.mask_offset == 1
    assert not (out / ".prepare").exists()


def test_poses_are_true_within_half_a_degree_and_one_percent(finished, clip):
    out, _ = finished
    read = read_clip(out)
    found = np.stack([np.linalg.inv(frame.camera_to_world) for frame in read.frames])
    opencv = np.diag([1.0, -1, -1])
    rotations = opencv @ found[:, :3, :3]
    middle = NUM_FRAMES // 2
    turned, truth = rotations @ rotations[middle].T, clip.poses.rotations @ clip.poses.rotations[middle].T
    assert angles(turned, truth).max() < 0.5
    # The units of the file, 0.48 from forehead to chin, differ a little from those of the synthetic head.
    ratio = -found[:, 2, 3] / clip.poses.translations[:, 2]
    assert np.abs(ratio / np.median(ratio) - 1).max() < 0.01
    assert np.median(ratio) == pytest.approx(1, abs=0.02)


def test_expressions_are_those_of_the_tracker_smoothed(finished, clip):
    out, _ = finished
    found = np.stack([frame.expression for frame in read_clip(out).frames])
    assert np.abs(found - clip.expressions)[5:-5].max() < 0.02


def test_the_crop_is_square_constant_and_in_the_intrinsics(finished):
    out, report = finished
    clip, crop = read_clip(out), report["crop"]
    assert (clip.width, clip.height) == (256, 256)
    scale = 256 / crop["side"]
    assert clip.fx == pytest.approx(FOCAL * scale)
    assert clip.cx == pytest.approx((128 - crop["x"]) * scale)
    assert clip.cy == pytest.approx((128 - crop["y"]) * scale)


def test_without_a_head_model_landmarks_are_tracked_as_ever(finished):
    out, report = finished
    assert not (out / "head.json").exists()
    assert "head model" not in report["seconds"] and "outline" not in report["seconds"]
    source = read_json(out / "transforms.json")["source"]
    assert "head" not in source and "expressions" not in source


@dataclass(frozen=True)
class SimpleWork:
    """What `take_steps` knows of the record."""

    options: PreparationParams
    seconds: dict[str, float] = field(default_factory=dict)


def test_steps_are_taken_in_order_and_timed():
    ticks = iter([10.0, 12.5, 20.0, 20.25])
    options = PreparationParams(torso=False)
    work = SimpleWork(options)
    taken = []

    def note(name: str):
        return lambda work: taken.append((name, dict(work.seconds))) or work

    all_steps = [
        pipeline.Step("first", note("first")),
        pipeline.Step("torso", note("torso"), is_wanted=lambda work: work.options.torso),
        pipeline.Step("last", note("last")),
    ]
    done = pipeline.take_steps(work, all_steps, clock=lambda: next(ticks))
    assert taken == [("first", {}), ("last", {"first": 2.5})]
    assert done.seconds == {"first": 2.5, "last": 0.25}


def test_an_interrupted_run_goes_on(options, clip, monkeypatch):
    monkeypatch.setattr(face_cache, "_CHUNK", 20)
    whole = options.out.with_name("whole")
    pipeline.prepare(replace(options, out=whole), clip.networks())

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(steps, "write_masks", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pipeline.prepare(options, clip.networks())
    assert not (options.out / "transforms.json").exists()
    trackers = []

    def remembered() -> StubTracker:
        trackers.append(clip.networks().face_tracker())
        return trackers[-1]

    pipeline.prepare(options, replace(clip.networks(), face_tracker=remembered))
    looked_at = sorted(index for tracker in trackers for index in tracker.looked_at)
    # The finished chunks are read.
    assert looked_at == list(range(60, NUM_FRAMES))
    assert (options.out / "transforms.json").read_bytes() == (whole / "transforms.json").read_bytes()


def test_what_a_run_is_known_by_survives_the_file(options):
    wanted = fingerprint(replace(options, end=2.5, focal=None, matting=Path("net.onnx")))
    assert json.loads(json.dumps(wanted)) == wanted


@pytest.mark.parametrize("other", [{"matting": Path("net.onnx")}, {"parsing": "color"}, {"size": 128}])
def test_a_run_with_other_masks_or_pictures_is_another_one(options, other):
    assert fingerprint(replace(options, **other)) != fingerprint(options)
    for same in ({"quiet": False}, {"models": Path("weights")}, {"out": Path("elsewhere")}):
        assert fingerprint(replace(options, **same)) == fingerprint(options)


def test_a_data_set_is_never_overwritten_unless_told(options, clip):
    options.out.mkdir()
    (options.out / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty.*--overwrite"):
        pipeline.prepare(options, clip.networks())
    pipeline.prepare(replace(options, overwrite=True), clip.networks())
    assert (options.out / "precious.txt").read_text() == "mine"
    with pytest.raises(UserError, match=r"holds a data set.*--overwrite"):
        pipeline.prepare(options, clip.networks())


def test_what_a_killed_run_left_half_written_is_removed(options, clip):
    with pytest.raises(UserError, match=r"frames, 0\.80 s"):
        pipeline.prepare(replace(options, end=0.8), clip.networks())
    folders = [options.out / name for name in (".", ".prepare", ".prepare/landmarks", "mask", "ori_imgs")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        (folder / ".5.999.part.png").write_text("half")
    with pytest.raises(UserError, match=r"frames, 0\.80 s"):
        pipeline.prepare(replace(options, end=0.8), clip.networks())
    assert not list(options.out.rglob("*.part.*"))
    (options.out / "transforms.json").write_text("{}")
    (options.out / ".transforms.999.part.json").write_text("half")
    with pytest.raises(UserError, match=r"frames, 0\.80 s"):
        pipeline.prepare(replace(options, end=0.8, overwrite=True), clip.networks())
    assert not list(options.out.rglob("*.part.*"))


def test_other_options_begin_an_unfinished_data_set_again(options, clip):
    with pytest.raises(UserError, match=r"frames, 0\.80 s"):
        pipeline.prepare(replace(options, end=0.8), clip.networks())
    assert pipeline.prepare(options, clip.networks())["frames"] == NUM_FRAMES


def test_frames_are_dropped_with_their_reason(options, clip):
    report = pipeline.prepare(options, clip.networks({3: 0, 10: 2, 11: 0}))
    assert report["dropped"] == {"3": "no face", "10": "two faces", "11": "no face"}
    ids = [frame.image_id for frame in read_clip(options.out).frames]
    assert ids == [i for i in range(NUM_FRAMES) if i not in (3, 10, 11)]


def test_the_video_is_opened_once(options, clip, monkeypatch):
    opened = []
    open_video = pipeline.open_video
    monkeypatch.setattr(pipeline, "open_video", lambda *part: opened.append(part) or open_video(*part))
    pipeline.begin(options, clip.networks())
    assert opened == [(clip.path, 0.0, None, 0)]


def test_a_lower_rate_keeps_every_other_frame(options, clip):
    report = pipeline.prepare(replace(options, fps=15), clip.networks())
    assert (report["frames"], report["rate"]) == (38, RATE / 2)
    pixels = read_image(options.out / "ori_imgs/5.jpg")
    # The crop is the whole picture, so the number is in it.
    assert report["crop"]["side"] == 256
    assert read_number(pixels) == 10


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        (dict.fromkeys(range(0, NUM_FRAMES, 2), 2), "two faces in 38 of 75 frames"),
        (dict.fromkeys(range(50), 0), r"can be used in 25 of 75 frames \(50 without a face\)"),
        (dict.fromkeys(range(NUM_FRAMES), 0), "can be used in 0 of 75 frames"),
    ],
)
def test_clips_with_the_wrong_number_of_faces_are_refused(options, clip, faces, message):
    with pytest.raises(UserError, match=message):
        pipeline.prepare(options, clip.networks(faces))


def test_a_small_face_is_refused(options, clip):
    small = clip._replace(landmarks=128 + (clip.landmarks - 128) / 4)
    with pytest.raises(UserError, match=r"the face is 3. pixels high; expected at least 80"):
        pipeline.prepare(options, small.networks())


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_a_still_picture_is_refused(options, clip, noise):
    poses = clip.poses.select(np.zeros(NUM_FRAMES, int))
    random = np.random.default_rng(0)
    still = clip._replace(
        landmarks=observe(poses, camera(), noise),
        expressions=0.2 + 0.1 * noise * random.normal(size=(NUM_FRAMES, 3)),
    )
    with pytest.raises(UserError, match="no motion"):
        pipeline.prepare(options, still.networks())


def test_a_video_without_a_frame_is_refused(options, clip, tmp_path):
    empty = tmp_path / "empty.avi"
    ffmpeg("-f", "lavfi", "-i", "color=size=64x64:rate=25", "-frames:v", "0", empty)
    with pytest.raises(UserError, match=r"empty\.avi: no frame could be decoded"):
        pipeline.prepare(replace(options, video=empty), clip.networks())
    with pytest.raises(UserError, match=r"no frame could be decoded from 2\.99 s on"):
        pipeline.prepare(replace(options, start=2.99), clip.networks())


def test_errors_of_the_script_are_one_line_and_exit_with_2(tmp_path, capsys, monkeypatch):
    no_video = tmp_path / "no.mp4"
    no_video.write_text("no")
    monkeypatch.setattr("preparation.pipeline.find_networks", lambda *arguments: None)
    with pytest.raises(SystemExit) as stopped:
        script.main([str(no_video), str(tmp_path / "out")])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "ffmpeg cannot read it as a video" in said
    assert not (tmp_path / "out").exists()
