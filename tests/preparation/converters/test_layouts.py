"""Folders of each layout, of a known head (layouts.py): converted, read, and measured in pixels.

The oracle is the scene: its points, moved as FLAME would and projected by the layout's own cameras.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.optimize import least_squares

import prepare
import train
from preparation.converters.convert import convert
from scene.dataset_readers import Clip, read_clip
from tests.preparation.converters import layouts
from tests.preparation.converters.layouts import VIEWS, Camera, Scene, moving_views, still_scene

UNITS = 2.7


def read_pixels(
    clip: Clip, index: int, points: np.ndarray = layouts.POINTS, units: float = UNITS
) -> np.ndarray:
    """Points of the head as a converted data set's frame sees them [P, 2]."""
    frame = clip.frames[index]
    seen = np.linalg.inv(frame.camera_to_world @ np.diag([1.0, -1, -1, 1]))
    local = units * points @ seen[:3, :3].T + seen[:3, 3]
    return local[:, :2] / local[:, 2:] * [clip.fx, clip.fy] + [clip.cx, clip.cy]


def true_pixels(view: Camera, points: np.ndarray, clip: Clip) -> np.ndarray:
    """Pixels of a layout's camera, brought to the intrinsics of the converted clip."""
    pixels = view.pixels(points)
    focal = np.array([view.focal, view.focal + 1])
    return (pixels - view.center) / focal * [clip.fx, clip.fy] + [clip.cx, clip.cy]


def largest_error(clip: Clip, scene: Scene, views: list[Camera], offset: np.ndarray | float = 0.0) -> float:
    """In pixels; frames are moments, and the cameras within them. offset: of the head's frame, metres [3]."""
    return float(np.abs(_differences(clip, scene, views, offset)).max())


def best_offset(clip: Clip, scene: Scene, views: list[Camera]) -> np.ndarray:  # [3] metres
    """The place of the head's origin under which it fits best: solved joints leave it open."""
    return least_squares(lambda offset: _differences(clip, scene, views, offset).ravel(), np.zeros(3)).x


def _differences(clip: Clip, scene: Scene, views: list[Camera], offset) -> np.ndarray:  # [F, P, 2]
    found = []
    for index in range(len(clip.frames)):
        moment, view = index // len(views), views[index % len(views)]
        wanted = true_pixels(view, scene.points(moment), clip)
        found.append(read_pixels(clip, index, layouts.POINTS + offset) - wanted)
    return np.array(found)


def converted(name: str, source: Path, **options) -> Clip:
    out = source.with_name("out")
    convert(name, source, out, quiet=True, **options)
    return read_clip(out, only_head=(out / "parsing").is_dir())


@pytest.mark.parametrize("views", [VIEWS[:1], VIEWS], ids=["one camera", "three"])
def test_vhap_with_meshes_is_exact(tmp_path, views):
    scene = layouts.scene(12)
    layouts.write_vhap(tmp_path / "in", scene, views, with_meshes=True)
    clip = converted("vhap", tmp_path / "in")
    assert len(clip.frames) == 12 * len(views)
    assert largest_error(clip, scene, views) < 1e-3
    for index, frame in enumerate(clip.frames):
        assert np.allclose(frame.expression, scene.expression[index // len(views)], atol=1e-6)


def test_vhap_whose_head_only_travels_is_exact(tmp_path):
    scene = layouts.scene(6, turn=0, nod=0)
    layouts.write_vhap(tmp_path / "in", scene, VIEWS)
    assert largest_error(converted("vhap", tmp_path / "in"), scene, VIEWS) < 1e-3


def test_vhap_parameters_become_one_vector_with_names(tmp_path):
    scene = layouts.scene(4)
    layouts.write_vhap(tmp_path / "in", scene, VIEWS[:1])
    clip = converted("vhap", tmp_path / "in")
    assert clip.expression_names[99:104] == ("exp99", "jaw0", "jaw1", "jaw2", "eyes0")
    assert clip.expression_names[-3:] == ("neck0", "neck1", "neck2")
    wanted = np.concatenate([scene.expression[2], scene.jaw[2], scene.eyes[2], scene.neck[2]])
    assert np.allclose(clip.frames[2].expression, wanted, atol=1e-6)


@pytest.mark.parametrize(("views", "limit"), [(VIEWS[:1], 1.0), (VIEWS, 0.5)], ids=["one camera", "three"])
def test_joints_are_solved_from_mattes(tmp_path, views, limit):
    scene = layouts.scene(36)
    layouts.write_vhap(tmp_path / "in", scene, views)
    made = convert("vhap", tmp_path / "in", tmp_path / "out", quiet=True)
    assert any("joints solved by least squares" in note for note in made.notes)
    clip = read_clip(tmp_path / "out")
    error = largest_error(clip, scene, views, best_offset(clip, scene, views))
    print("pixels", error, largest_error(clip, scene, views), made.notes)
    assert error < limit


def test_pictures_of_other_cameras_lie_where_the_common_camera_sees_the_head(tmp_path):
    scene = layouts.scene(3, turn=0, nod=0)
    layouts.write_vhap(tmp_path / "in", scene, VIEWS)
    clip = converted("vhap", tmp_path / "in")
    for index, frame in enumerate(clip.frames):
        matte = cv2.imread(str(frame.mask_path), cv2.IMREAD_GRAYSCALE)
        rows, columns = np.nonzero(matte > 127)
        middle = np.array([columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]) / 2
        # A ball's outline is around its centre but for perspective, 0.1 pixels here.
        assert np.abs(middle - read_pixels(clip, index, layouts.CENTRE[None])[0]).max() < 1


def test_gaussianavatars_split_files_lead_to_folders_beside(tmp_path):
    root, scene = tmp_path / "set", layouts.scene(6, turn=0, nod=0)
    parts = {}
    for name in ("EMO-1", "EXP-2"):
        parts[name] = layouts.write_vhap(root / name, scene, VIEWS[:2], folder=f"../{name}/")
    (root / "UNION").mkdir()
    train_part = [entry for entry in parts["EMO-1"] if entry["camera_index"] == 0]
    val_part = [entry for entry in parts["EMO-1"] if entry["camera_index"] == 1]
    for name, frames in (("train", train_part), ("val", val_part), ("test", parts["EXP-2"])):
        layouts.save_json(root / "UNION" / f"transforms_{name}.json", {"frames": frames})
    made = convert("gaussianavatars", root / "UNION", tmp_path / "out", quiet=True)
    assert made.num_frames == 24
    clip = read_clip(tmp_path / "out")
    # The held-out sequence is last, and cameras of a moment follow one another.
    for index in range(24):
        wanted = true_pixels(VIEWS[index % 2], scene.points(index // 2 % 6), clip)
        assert np.abs(read_pixels(clip, index) - wanted).max() < 1e-3


@pytest.mark.parametrize("in_pixels", [False, True])
def test_imavatar_is_exact_where_the_head_does_not_turn(tmp_path, in_pixels):
    # Its lengths are 4 x metres, the camera moves and the head is still.
    scene = layouts.scene(6, turn=0, nod=0, travel=0)
    layouts.write_imavatar(tmp_path / "in", scene, VIEWS[1], in_pixels)
    clip = converted("imavatar", tmp_path / "in")
    assert largest_error(clip, scene, VIEWS[1:2]) < 1e-3
    assert len(clip.frames[0].expression) == 50 + 3 + 6 + 3
    parsing = cv2.imread(str(clip.frames[0].parsing_path))
    assert set(map(tuple, parsing.reshape(-1, 3))) == {(0, 0, 0), (255, 0, 0)}
    assert not parsing[60:].any()


def test_imavatar_videos_of_one_person_follow_one_another_and_turns_are_solved(tmp_path):
    scene = layouts.scene(24, travel=0)
    for name in ("MVI_1", "MVI_2"):
        layouts.write_imavatar(tmp_path / "in" / name, scene, VIEWS[0])
    clip = converted("imavatar", tmp_path / "in")
    assert [frame.image_id for frame in clip.frames] == list(range(48))
    errors = [
        np.abs(read_pixels(clip, i) - true_pixels(VIEWS[0], scene.points(i % 24), clip)).max()
        for i in range(48)
    ]
    print("pixels", max(errors))
    assert max(errors) < 1.5


@pytest.mark.parametrize("folder", [".", "checkpoint"])
@pytest.mark.parametrize("first", [0, 1])
def test_frames_of_metrical_tracker_are_exact(tmp_path, folder, first):
    scene, views, root = still_scene(6), moving_views(6), tmp_path / "in"
    layouts.write_frames_of_metrical_tracker(root / folder, scene, views)
    for index, view in enumerate(views):
        image, matte = layouts.draw(view, np.eye(4))
        layouts.save(root / f"images/{index + first:05d}.png", np.dstack([image, matte]))
    clip = converted("flame-frames", root)
    for index, view in enumerate(views):
        assert np.abs(read_pixels(clip, index) - view.pixels(layouts.POINTS)).max() < 1e-3


def test_flashavatar_is_found_where_its_repository_has_it(tmp_path):
    scene, views = still_scene(6), moving_views(6)
    layouts.write_frames_of_metrical_tracker(tmp_path / "metrical-tracker/output/me/checkpoint", scene, views)
    for index, view in enumerate(views):
        image, matte = layouts.draw(view, np.eye(4))
        root = tmp_path / "dataset/me"
        layouts.save(root / f"imgs/{index + 1:05d}.jpg", image)
        layouts.save(root / f"alpha/{index + 1:05d}.jpg", matte)
        layouts.save(root / f"parsing/{index + 1:05d}_neckhead.png", matte)
    clip = converted("flashavatar", tmp_path / "dataset/me")
    for index, view in enumerate(views):
        assert np.abs(read_pixels(clip, index) - view.pixels(layouts.POINTS)).max() < 1e-3
    assert (cv2.imread(str(clip.frames[0].parsing_path))[48, 48] == (255, 0, 0)).all()


def test_arrays_of_flame_head_tracker_are_exact(tmp_path):
    scene, views = still_scene(6), moving_views(6)
    layouts.write_arrays_of_head_tracker(tmp_path / "in", scene, views.__getitem__)
    clip = converted("flame-frames", tmp_path / "in")
    for index, view in enumerate(views):
        assert np.abs(read_pixels(clip, index) - view.pixels(layouts.POINTS)).max() < 1e-3
    image, matte = layouts.draw(views[2], np.eye(4))
    assert np.array_equal(cv2.imread(str(clip.frames[2].image_path))[..., ::-1], image)
    mask = cv2.imread(str(clip.frames[2].mask_path), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(mask, 255 * (matte > 127))


@pytest.mark.parametrize("split", [False, True])
def test_nerfblendshape_is_exact(tmp_path, split):
    scene, views = still_scene(10), moving_views(10)
    layouts.write_nerfblendshape(tmp_path / "in", scene, views, split)
    clip = converted("nerfblendshape", tmp_path / "in")
    assert len(clip.frames) == 10
    for index, view in enumerate(views):
        wanted = view.pixels(layouts.POINTS)
        # A talking-head NeRF has one focal length.
        wanted = wanted if not split else (wanted - view.center) * [1, clip.fy / (clip.fx + 1)] + view.center
        assert np.abs(read_pixels(clip, index) - wanted).max() < 1e-3
    assert clip.frames[3].image_path.read_bytes() == (tmp_path / "in/ori_imgs/3.png").read_bytes()


def test_insta_takes_jaw_and_eyes_where_every_frame_has_them_and_cuts_off_clothes(tmp_path):
    scene, views, root = still_scene(5), moving_views(5), tmp_path / "in"
    frames = []
    for index, view in enumerate(views):
        image, matte = layouts.draw(view, np.eye(4))
        name = f"{index:05d}"
        layouts.save(root / f"images/{name}.png", np.dstack([image, matte]))
        colors = np.full((96, 96, 3), (255, 85, 0), np.uint8)
        colors[60:] = (90, 20, 0)
        layouts.save(root / f"seg_mask/{name}.png", colors)
        for kind, values in (("exp", scene.expression), ("jaw", scene.jaw), ("eyes", scene.eyes)):
            (root / "flame" / kind).mkdir(parents=True, exist_ok=True)
            np.savetxt(root / f"flame/{kind}/{name}.txt", values[index])
        pose = np.linalg.inv(view.world_to_camera).tolist()
        paths = {"file_path": f"images/{name}.png", "seg_mask_path": f"seg_mask/{name}.png"}
        frames.append({"transform_matrix": pose, "exp_path": f"flame/exp/{name}.txt", **paths})
    shared = {"fl_x": 300.0, "fl_y": 301.0, "cx": 48.0, "cy": 48.0, "w": 96.0, "h": 96.0}
    layouts.save_json(root / "transforms.json", shared | {"frames": frames})
    clip = converted("insta", root)
    assert clip.expression_names[99:104] == ("exp99", "jaw0", "jaw1", "jaw2", "eyes0")
    assert np.allclose(clip.frames[1].expression[100:103], scene.jaw[1], atol=1e-6)
    for index, view in enumerate(views):
        assert np.abs(read_pixels(clip, index) - view.pixels(layouts.POINTS)).max() < 1e-3
    parsing = cv2.imread(str(clip.frames[0].parsing_path))
    assert parsing[40:60].any() and not parsing[60:].any()


def test_a_converted_data_set_of_several_cameras_trains_and_scores(tmp_path, capsys):
    layouts.write_vhap(tmp_path / "in", layouts.scene(10), VIEWS, with_meshes=True)
    prepare.main(["--from", "vhap", str(tmp_path / "in"), str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "30 frames" in said and "3 cameras" in said and "rigid fit of 10 exported meshes" in said
    assert "scaled and shifted" in said
    train.main(["-s", str(tmp_path / "out"), "-m", str(tmp_path / "run"), "--is_debug", "--eval"])
    assert "PSNR" in "".join(capsys.readouterr())
