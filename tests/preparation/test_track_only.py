"""prepare.py --track-only: a small data set whose head is a small head model, tracked anew."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import prepare as script
from arguments import PreparationParams
from parametric_head.drawing import draw_mesh, interpolate
from parametric_head.model import NAME
from parametric_head.person import Person, PersonMesh
from preparation.data_set.images_and_arrays import write_image
from preparation.data_set.transforms import camera_to_world, poses_from
from preparation.geometry.head_frame import rebase
from preparation.geometry.landmark_names import STABLE
from preparation.geometry.pose_alignment import compare_poses
from preparation.geometry.rigid import Poses, Similarity, exp_so3, project
from preparation.head_fit import outline, person_fit, pixel_fit
from preparation.models import chosen_networks
from preparation.models.chosen_networks import HeadModel, Trackers
from preparation.retracking import retrack as retracking
from preparation.retracking.retrack import retrack
from preparation.retracking.tracked import Tracked
from scene.dataset_readers import read_clip
from tests.parametric_head.small_head import small_head, small_landmarks
from tests.preparation.synthetic_head import StubTracker, camera, moving_poses, write_number
from utils.errors import UserError

SIZE, NUM_FRAMES = 256, 40
# A gap in time, and the last frame has no face.
IMAGE_IDS = [*range(20), *range(30, 50)]
FACELESS = (7, 49)
# From the head's true frame to the one of the old poses.
OLD_FRAME = Similarity(np.float64(1.6), exp_so3(np.array([0.1, -0.2, 0.05])), np.array([0.02, -0.05, 0.03]))
OLD_NAMES = ("smile", "frown")


class Truth(NamedTuple):
    """A data set on disk, and what is known of it."""

    root: Path
    mesh: PersonMesh
    poses: Poses
    coefficients: np.ndarray  # [F, E]
    landmarks: np.ndarray  # [F, 478, 3] pixels

    def trackers(self, faces: dict[int, int] | None = None) -> Trackers:
        """Stubs. faces: frames in which not one face is found but so many."""
        head = self.mesh.head
        faces = dict.fromkeys(map(IMAGE_IDS.index, FACELESS), 0) if faces is None else faces
        scores = self.coefficients

        def face_tracker() -> StubTracker:
            tracker = StubTracker(self.landmarks, scores, faces)
            tracker.coefficient_names = head.names
            return tracker

        return Trackers(face_tracker, lambda: HeadModel(head, small_landmarks(head)))


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> Truth:
    head = small_head()
    random = np.random.default_rng(1)
    identity = random.normal(size=len(head.identity))
    places = small_landmarks(head)
    person = Person(identity, np.zeros((478, 3)), places, 0.029, np.eye(3), np.zeros(3))
    mesh, poses, view = person.mesh(head), moving_poses(NUM_FRAMES), camera()
    coefficients = np.zeros((NUM_FRAMES, len(head.names)))
    time = np.arange(NUM_FRAMES)
    coefficients[:, head.columns["jawOpen"]] = 0.3 + 0.25 * np.sin(0.7 * time)
    landmarks = []
    root = tmp_path_factory.mktemp("track_only") / "data"
    for row, image_id in enumerate(IMAGE_IDS):
        pose = poses.select([row])
        points = pose.apply(mesh.landmarks(coefficients[row]))[0]
        depth = (points[:, 2:] - pose.translations[0, 2]) * view.focal / pose.translations[0, 2]
        landmarks.append(np.hstack([project(points, view.focal, view.center), depth]))
        image, matte = _draw(mesh, pose.apply(mesh.vertices(coefficients[row]))[0])
        write_number(image, row)
        write_image(root / "ori_imgs" / f"{image_id}.png", image)
        write_image(root / "mask" / f"{image_id}.png", matte)
    matrices = camera_to_world(rebase(poses, OLD_FRAME))
    frames = [
        {
            "img_id": image_id,
            "src_frame": 2 * image_id,
            "exp_ori": random.uniform(size=2).tolist(),
            "transform_matrix": matrices[row].tolist(),
        }
        for row, image_id in enumerate(IMAGE_IDS)
    ]
    document = {
        **{"h": SIZE, "w": SIZE, "fx": view.focal, "fy": view.focal, "cx": SIZE / 2, "cy": SIZE / 2},
        **{"exp_names": OLD_NAMES, "licence": "mine", "frames": frames},
    }
    (root / "transforms.json").write_text(json.dumps(document))
    return Truth(root, mesh, poses, coefficients, np.array(landmarks))


def _draw(mesh: PersonMesh, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture and matte: freckled skin."""
    view, triangles = camera(), mesh.head.triangles
    drawn = draw_mesh(vertices, triangles, view.focal, view.center, (SIZE, SIZE))
    x, y, z = np.moveaxis(interpolate(drawn, triangles, mesh.head.neutral), -1, 0)
    freckles = np.sin(3.1 * x + 1.3 * y) + np.sin(2.3 * y - 1.7 * x + z) + np.sin(4.1 * y + 0.7 * x)
    is_head = drawn.triangle >= 0
    skin = (140 + 25 * freckles)[..., None] * [1, 0.8, 0.7]
    image = np.where(is_head[..., None], skin, [60, 90, 70]).round().clip(0, 255).astype(np.uint8)
    return image, 255 * is_head.astype(np.uint8)


@pytest.fixture(scope="module")
def tracked(truth) -> Tracked:
    """What is found in it; slow, so only once."""
    found = []
    track_clip = retracking.track_clip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_fit, "SAMPLE_FRAMES", 6)
        patch.setattr(pixel_fit, "NUM_ROUNDS", 1)
        patch.setattr(person_fit, "_STEPS", 4)
        patch.setattr(outline, "_ROUNDS", 1)
        patch.setattr(retracking, "track_clip", lambda *given: found.append(track_clip(*given)) or found[0])
        patch.setattr(retracking, "_write", lambda *given: None)
        retrack(PreparationParams(track_only=truth.root, quiet=True, fps=25.0), truth.trackers())
    return found[0]


@pytest.fixture
def options(truth, tmp_path) -> PreparationParams:
    """A copy of the data set."""
    shutil.copytree(truth.root, tmp_path / "data")
    return PreparationParams(track_only=tmp_path / "data", quiet=True, fps=25.0)


@pytest.fixture
def quick(tracked, monkeypatch):
    """Nothing is tracked again, no model is looked for."""
    monkeypatch.setattr(retracking, "find_trackers", lambda options: None)
    monkeypatch.setattr(retracking, "track_clip", lambda *given: tracked)


def test_poses_and_coefficients_are_true(truth, tracked):
    true_poses = truth.poses.select(tracked.rows)
    agreement = compare_poses(tracked.poses, true_poses, tracked.head_fit.landmarks[STABLE], camera())
    assert agreement.degrees.max() < 0.3
    assert agreement.pixels.max() < 0.3
    jaw = truth.mesh.head.columns["jawOpen"]
    found, true = tracked.coefficients[:, jaw], truth.coefficients[tracked.rows, jaw]
    assert np.corrcoef(found, true)[0, 1] > 0.99


def test_frames_without_a_face_are_left_out_by_name_and_all_else_stays(truth, quick, options):
    before = _files(options.track_only)
    report = retrack(options)
    document, old = _document(options.track_only), _document(truth.root)
    assert document["exp_names"] == list(truth.mesh.head.names)
    assert {name: document[name] for name in ("fx", "cy", "w", "licence")} == {
        name: old[name] for name in ("fx", "cy", "w", "licence")
    }
    assert [(entry["img_id"], entry["src_frame"]) for entry in document["frames"]] == [
        (i, 2 * i) for i in IMAGE_IDS if i not in FACELESS
    ]
    assert report["notes"][0] == "no face: 2 frames left out of transforms.json, img_id 7, 49"
    assert report["dropped"] == {"7": "no face", "49": "no face"}
    assert json.loads((options.track_only / "report/report.json").read_text())["frames"] == 38
    assert document["source"]["head"] == NAME
    after = _files(options.track_only)
    assert {path for path in before if before[path] != after[path]} == {"transforms.json"}
    with np.load(options.track_only / "tracking.npz") as stored:
        assert stored["image_ids"].tolist() == [entry["img_id"] for entry in document["frames"]]


def test_masks_are_found_though_the_last_frame_is_left_out(quick, options):
    # mask/49.png, which is no more the last frame's, would make it seem that masks are off by one.
    retrack(options)
    clip = read_clip(options.track_only)
    assert all(frame.mask_path.stem == str(frame.image_id) for frame in clip.frames)


def test_the_first_transforms_are_kept_and_every_run_begins_from_them(truth, quick, options):
    retrack(options)
    first = _files(options.track_only)
    assert first["transforms_before_tracking.json"] == _files(truth.root)["transforms.json"]
    with pytest.raises(UserError, match=r"tracked with the head model already.*--overwrite"):
        retrack(options)
    retrack(replace(options, overwrite=True, keep="poses"))
    retrack(replace(options, overwrite=True))
    assert _files(options.track_only) == first


def test_poses_that_are_kept_are_the_same_numbers_and_the_head_lies_where_they_say(truth, quick, options):
    report = retrack(replace(options, keep="poses"))
    document, old = _document(options.track_only), _old_entries(truth)
    matrices = [entry["transform_matrix"] for entry in document["frames"]]
    assert matrices == [old[entry["img_id"]]["transform_matrix"] for entry in document["frames"]]
    assert document["exp_names"] == list(truth.mesh.head.names)
    assert report["old_poses"]["degrees"]["95_percent"] < 0.3
    head = json.loads((options.track_only / "head.json").read_text())
    mesh, view = Person.from_json(head["person"]).mesh(truth.mesh.head), camera()
    assert np.ptp(mesh.neutral, axis=0) == pytest.approx(1.6 * np.ptp(truth.mesh.neutral, axis=0), rel=0.1)
    for entry in document["frames"][::6]:
        pose = poses_from(np.array([entry["transform_matrix"]]))
        seen = project(pose.apply(mesh.landmarks(np.array(entry["exp_ori"]))), view.focal, view.center)[0]
        errors = seen - truth.landmarks[IMAGE_IDS.index(entry["img_id"]), :, :2]
        assert np.median(np.linalg.norm(errors, axis=-1)) < 0.5


def test_expressions_that_are_kept_are_the_same_numbers(truth, tracked, quick, options):
    retrack(replace(options, keep="expressions"))
    document, old = _document(options.track_only), _old_entries(truth)
    assert document["exp_names"] == list(OLD_NAMES)
    assert [entry["exp_ori"] for entry in document["frames"]] == [
        old[entry["img_id"]]["exp_ori"] for entry in document["frames"]
    ]
    found = poses_from(np.array([entry["transform_matrix"] for entry in document["frames"]]))
    assert np.allclose(found.translations, tracked.poses.translations, atol=1e-5)


def test_scores_of_the_detector_are_written_where_they_are_wanted(tracked, quick, options):
    retrack(replace(options, expressions="mediapipe"))
    written = np.array([entry["exp_ori"] for entry in _document(options.track_only)["frames"]])
    assert np.allclose(written, tracked.scores, atol=1e-6)
    assert not np.allclose(written, tracked.coefficients, atol=1e-3)


def test_the_torso_moves_in_the_picture_as_before(truth, tracked, quick, options):
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = exp_so3(np.array([0, 0, 0.1])), [0.05, -0.02, 0.1]
    document = _document(options.track_only)
    for entry in document["frames"]:
        entry["torso_transform"] = motion.tolist()
    (options.track_only / "transforms.json").write_text(json.dumps(document))
    retrack(options)
    moved = np.array(_document(options.track_only)["frames"][0]["torso_transform"])
    old = rebase(truth.poses, OLD_FRAME).select(tracked.rows)
    scale = np.median(tracked.poses.translations[:, 2]) / np.median(old.translations[:, 2])
    # Two points in front of the camera, OpenGL axes.
    points = np.array([[0.3, -0.6, -5.0], [-0.4, -0.8, -5.5]])
    before = points @ motion[:3, :3].T + motion[:3, 3]
    after = scale * points @ moved[:3, :3].T + moved[:3, 3]
    assert np.allclose(before[:, :2] / before[:, 2:], after[:, :2] / after[:, 2:], atol=1e-6)
    retrack(replace(options, overwrite=True, keep="poses"))
    assert _document(options.track_only)["frames"][0]["torso_transform"] == motion.tolist()


def test_a_torso_measured_after_tracking_is_named_when_it_goes(quick, options):
    retrack(options)
    document = _document(options.track_only)
    for entry in document["frames"]:
        entry["torso_transform"] = np.eye(4).tolist()
    (options.track_only / "transforms.json").write_text(json.dumps(document))
    report = retrack(replace(options, overwrite=True))
    assert any("--torso-only" in note for note in report["notes"])


def test_an_interrupted_run_leaves_the_data_set_and_is_repeated(quick, options, monkeypatch):
    before = _document(options.track_only)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The last thing before transforms.json.
        patch.setattr(retracking, "learn_score_map", interrupt)
        with pytest.raises(KeyboardInterrupt):
            retrack(options)
    assert _document(options.track_only) == before
    retrack(options)
    assert _document(options.track_only, "transforms_before_tracking.json") == before
    assert "head" in _document(options.track_only)["source"]


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        (dict.fromkeys(range(NUM_FRAMES), 0), r"data: the face can be used in 0 of 40 pictures, 40 no face"),
        (dict.fromkeys(range(12), 2), r"can be used in 28 of 40 pictures, 12 two faces; .*and 30"),
    ],
)
def test_too_few_faces_are_refused_and_nothing_is_written(truth, options, faces, message):
    before = _files(options.track_only)
    with pytest.raises(UserError, match=message):
        retrack(options, truth.trackers(faces))
    assert _files(options.track_only) == before


def test_a_missing_picture_is_named_before_any_model_is_fetched(options, monkeypatch):
    monkeypatch.setattr(retracking, "find_trackers", None)
    (options.track_only / "ori_imgs/3.png").unlink()
    with pytest.raises(UserError, match=r"ori_imgs.3\."):
        retrack(options)


def test_pixels_that_are_not_square_are_refused(options, monkeypatch):
    monkeypatch.setattr(retracking, "find_trackers", None)
    document = _document(options.track_only)
    document["fy"] *= 1.1
    (options.track_only / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="expected square pixels"):
        retrack(options)


def test_without_the_head_model_there_is_an_error_in_one_line(options, monkeypatch, capsys):
    def missing(*arguments):
        raise UserError("ict_head.npz: no connection")

    monkeypatch.setattr(chosen_networks, "check_mediapipe", lambda: None)
    monkeypatch.setattr(chosen_networks, "find_model", lambda *given: Path("face_landmarker.task"))
    monkeypatch.setattr(chosen_networks, "find_head", missing)
    with pytest.raises(SystemExit) as stopped:
        script.main(["--track-only", str(options.track_only)])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: ict_head.npz: no connection\n"


def test_the_script_says_how_far_the_old_poses_are_off(quick, options, capsys):
    script.main(["--track-only", str(options.track_only), "--models", "none"])
    said = capsys.readouterr().out
    assert "38 frames tracked" in said
    assert "against the old poses 0.0" in said
    assert "note: no face: 2 frames left out" in said
    assert "smoothed as 30 frames per second" in said


def test_the_rate_is_that_of_the_frames_times():
    frames = [{"img_id": i, "time": 1 + i / 25} for i in (3, 0, 13)]
    assert retracking._rate({"frames": frames}) == pytest.approx(25)
    assert retracking._rate({"frames": [{"img_id": 0}, {"img_id": 1, "time": 0.1}]}) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["video.mp4", "out", "--keep", "poses"], "--keep poses: only goes with --track-only"),
        (["--track-only", "data", "--keep", "both"], "both"),
        (["video.mp4", "out", "--track-only", "data"], "--track-only takes no video"),
        (["--track-only", "data", "--torso-only", "data"], "expected one of them"),
        (["--track-only", "data", "--from", "insta"], "--track-only and --from"),
        (["--track-only", "data", "--tracker", "landmarks"], "--tracker landmarks"),
        (["--track-only", "data", "--keep", "expressions", "--expressions", "mediapipe"], "exp_ori"),
    ],
)
def test_a_wrong_command_line_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def _document(root: Path, name: str = "transforms.json") -> dict:
    return json.loads((root / name).read_text())


def _old_entries(truth: Truth) -> dict[int, dict]:
    return {entry["img_id"]: entry for entry in _document(truth.root)["frames"]}


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
