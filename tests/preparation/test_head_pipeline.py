"""A clip of the small head model from video to data set, with the head model under the pipeline."""

import json
import shutil
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from arguments import PreparationParams
from parametric_head.drawing import draw_mesh
from parametric_head.person import Person
from preparation import pipeline, steps
from preparation.data_set.images_and_arrays import read_image
from preparation.data_set.layout import Layout
from preparation.data_set.transforms import poses_from
from preparation.geometry.rigid import log_so3, mean_rotation
from preparation.head_fit import finishing, head_fit, outline, pixel_fit
from preparation.head_fit.score_map import ScoreMap
from preparation.models.chosen_networks import HeadModel, Networks
from preparation.segmentation.parsing import HEAD
from preparation.tracking import face_cache
from preparation.work import Work
from scene.dataset_readers import read_clip
from tests.parametric_head.small_head import small_head, small_landmarks
from tests.preparation.head_fit.talking_head import TalkingHead, columns, draw, observe, talking_head
from tests.preparation.synthetic_head import StubTracker, stub_matting, write_number
from utils.json_files import read_json
from utils.video import VideoWriter

NUM_FRAMES, RATE, SIDE = 34, 16.0, 256


class HeadTracker(StubTracker):
    coefficient_names = small_head().names


class Run(NamedTuple):
    """A data set that was interrupted after its pixels were aligned, and gone on with."""

    truth: TalkingHead
    scores: np.ndarray  # [F, E] of the detector
    work: Work
    # Before and after the interruption.
    trackers: tuple[list[HeadTracker], list[HeadTracker]]
    aligned: list[int]


def networks(landmarks, scores, trackers) -> Networks:
    head = small_head()

    def face_tracker() -> HeadTracker:
        trackers.append(HeadTracker(landmarks, scores))
        return trackers[-1]

    return Networks(
        face_tracker,
        matting=lambda: stub_matting,
        head=lambda: HeadModel(head, small_landmarks(head)),
        names={"landmarks": "stub"},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("talking")
    truth = talking_head(NUM_FRAMES, 20.0, size=SIDE)
    with VideoWriter(folder / "head.mp4", fps=RATE) as video:
        for row in range(NUM_FRAMES):
            frame = draw(truth, row, SIDE)
            write_number(frame, row)
            video.write(frame)
    rng = np.random.default_rng(3)
    scores = np.clip(0.8 * truth.coefficients + 0.02 * rng.normal(size=truth.coefficients.shape), 0, 1)
    landmarks = observe(truth, 0.3)
    options = PreparationParams(
        folder / "head.mp4", folder / "data", focal=truth.camera.focal, size=SIDE, torso=False, quiet=True
    )
    first, second, aligned = [], [], []
    with pytest.MonkeyPatch.context() as patch:
        # Quicker, and not what is tested here.
        patch.setattr(face_cache, "_CHUNK", 10)
        patch.setattr(head_fit, "FRAMES_IN_TIME", 6)
        patch.setattr(head_fit, "FRAMES_BY_TURN", 3)
        patch.setattr(pixel_fit, "SAMPLE_FRAMES", 6)
        patch.setattr(steps, "fit_head", only_once(steps.fit_head))
        patch.setattr(pixel_fit, "NUM_ROUNDS", 2)
        patch.setattr(finishing, "choose_views", partial(outline.choose_views, count=6))
        refine = pixel_fit._refine
        patch.setattr(pixel_fit, "_refine", lambda *given: aligned.append(1) or refine(*given))
        with pytest.MonkeyPatch.context() as interruption:
            interruption.setattr(steps, "write_masks", interrupt)
            with pytest.raises(KeyboardInterrupt):
                pipeline.prepare(options, networks(landmarks, scores, first))
        assert not (options.out / "transforms.json").exists()
        work = pipeline.begin(options, networks(landmarks, scores, second))
        work = pipeline.take_steps(work, pipeline.STEPS)
    return Run(truth, scores, work, (first, second), aligned)


def interrupt(*arguments):
    raise KeyboardInterrupt


def only_once(function):
    """What it returned first, for arguments that mean the same."""
    returned = []

    def call(*arguments):
        if not returned:
            returned.append(function(*arguments))
        return returned[0]

    return call


def test_a_run_goes_on_where_it_was_interrupted(run):
    looked_at = [[index for tracker in each for index in tracker.looked_at] for each in run.trackers]
    assert sorted(looked_at[0]) == list(range(NUM_FRAMES))
    # Finished chunks are read again.
    assert sorted(looked_at[1]) == list(range(30, NUM_FRAMES))
    assert len(run.aligned) == 1


def test_the_folder_is_one_that_training_reads(run):
    clip = read_clip(run.work.layout.root, only_head=True)
    assert len(clip.frames) == NUM_FRAMES
    # ARKit's 52.
    assert clip.expression_names == run.truth.head.names
    assert len(clip.expression_names) == 52
    source = read_json(run.work.layout.transforms)["source"]
    assert source["head"] == "ICT-FaceKit light"
    assert source["expressions"] == "solved"


def test_poses_are_true(run):
    frames = read_clip(run.work.layout.root).frames
    found = poses_from(np.stack([frame.camera_to_world for frame in frames])).rotations
    relative = run.truth.poses.rotations.transpose(0, 2, 1) @ found
    # A turn that is common to all frames is the head frame's.
    error = np.rad2deg(np.linalg.norm(log_so3(relative @ mean_rotation(relative).T), axis=1))
    assert error.mean() < 0.35
    assert error.max() < 1.0


def test_expressions_are_solved_ones(run):
    found = np.stack([frame.expression for frame in read_clip(run.work.layout.root).frames])
    # As transforms.json rounds them.
    np.testing.assert_allclose(found, run.work.coefficients, atol=1e-6)
    assert found.min() >= 0 and found.max() <= 1
    for column in columns(run.truth.head, "jawOpen") + columns(run.truth.head, "mouthSmile"):
        assert np.corrcoef(found[:, column], run.truth.coefficients[:, column])[0, 1] > 0.95


def test_head_json_gives_the_person(run):
    document = read_json(run.work.layout.head)
    head, truth = run.truth.head, run.truth
    assert document["model"]["sha256"] == head.digest
    assert document["focal"] == {"pixels": run.work.head.camera.focal, "source": "given by --focal"}
    mesh = Person.from_json(document["person"]).mesh(head)
    face = head.part("face")
    # Head units: 9 mm at most, 3 mm in the mean.
    away = np.linalg.norm(mesh.neutral[face] - truth.mesh.neutral[face], axis=1)
    assert away.mean() < 0.009
    assert away.max() < 0.026
    learned = ScoreMap.from_json(document["scores_to_coefficients"])
    assert learned.names == head.names
    jaw = head.columns["jawOpen"]
    mapped = learned(run.scores)[:, jaw]
    assert np.corrcoef(mapped, truth.coefficients[:, jaw])[0, 1] > 0.95


@pytest.mark.parametrize("row", [0, 9, 20, 33])
def test_the_mesh_fills_the_matte_and_its_face_is_parsed_as_head(run, row):
    work = run.work
    head, camera = work.head_fit.head, work.head.camera
    drawn = draw_mesh(work.vertices(row), head.triangles, camera.focal, camera.center, (SIDE, SIDE))
    matte = read_image(work.layout.mask(row), cv2.IMREAD_GRAYSCALE) > 127
    # Without the frame's number, and what is cut through by the lower edge.
    looked_at = np.s_[16:200]
    is_drawn, matte = (drawn.triangle >= 0)[looked_at], matte[looked_at]
    assert (is_drawn & matte).sum() > 0.94 * (is_drawn | matte).sum()
    # The small head's jaw is longer than the line that a real head is parted by.
    heights = head.neutral[head.triangles, 1].min(axis=1)
    is_face = (head.triangle_part == head.part_names.index("face")) & (heights > -6)
    is_face = is_face[drawn.triangle] & (drawn.triangle >= 0)
    is_head = (read_image(work.layout.parsing(row)) == HEAD).all(axis=-1)
    sure = cv2.erode(is_face.astype(np.uint8), np.ones((5, 5)))[looked_at] > 0
    assert sure.sum() > 4000
    assert is_head[looked_at][sure & matte].mean() > 0.97


def test_the_head_model_parses_where_nothing_better_does(run):
    assert run.work.parses_by_head
    assert {"outline", "parsing", "head model"} <= set(run.work.seconds)
    for changed in (
        replace(run.work, networks=replace(run.work.networks, classes=lambda: None)),
        replace(run.work, options=replace(run.work.options, parsing="color")),
        replace(run.work, head_fit=None),
    ):
        assert not changed.parses_by_head


def test_mediapipes_scores_are_written_where_they_are_wanted(run, tmp_path):
    layout = Layout(tmp_path / "data")
    layout.root.mkdir()
    options = replace(run.work.options, expressions="mediapipe")
    steps.write_data_set(replace(run.work, options=options, layout=layout))
    document = read_json(layout.transforms)
    assert document["exp_names"] == list(HeadTracker.coefficient_names)
    assert document["source"]["expressions"] == "mediapipe"
    found = np.array([frame["exp_ori"] for frame in document["frames"]])
    np.testing.assert_allclose(found, run.work.image_scores, atol=1e-6)
    assert np.abs(found - run.work.coefficients).max() > 0.05
    # The person is there all the same.
    assert json.loads(layout.head.read_text()) == read_json(run.work.layout.head)


def test_covered_frames_are_left_out_of_everything(run, tmp_path):
    work, covered = run.work, np.array([4, 5, 17])
    layout = Layout(tmp_path / "data")
    shutil.copytree(work.layout.root / "ori_imgs", layout.root / "ori_imgs")
    flow, chips = work.refinement.flow.copy(), work.track.chips.copy()
    flow[covered] = 50
    chips[covered] = np.random.default_rng(0).integers(0, 256, chips[covered].shape)
    before = replace(
        work,
        layout=layout,
        refinement=work.refinement._replace(flow=flow),
        track=replace(work.track, chips=chips),
    )
    after = steps._leave_out_covered(before)
    kept = np.setdiff1d(np.arange(NUM_FRAMES), covered)
    np.testing.assert_array_equal(after.image_ids, kept)
    np.testing.assert_array_equal(after.head.poses.rotations, work.head.poses.rotations[kept])
    np.testing.assert_array_equal(after.refinement.poses.rotations, work.refinement.poses.rotations[kept])
    np.testing.assert_array_equal(after.refinement.fit.coefficients, work.refinement.fit.coefficients[kept])
    np.testing.assert_array_equal(after.head_fit.expected, work.head_fit.expected[kept])
    np.testing.assert_array_equal(after.head_fit.fit.coefficients, work.head_fit.fit.coefficients[kept])
    assert after.head_fit.person is work.head_fit.person
    assert sorted(after.track.dropped) == covered.tolist()
    assert sorted(int(path.stem) for path in (layout.root / "ori_imgs").iterdir()) == kept.tolist()
    assert "3 frames left out" in after.notes[-1]
    taken = steps._take_over_fit(replace(after, smoothed=work.smoothed))
    assert taken.coefficients.shape == (len(kept), 52)
