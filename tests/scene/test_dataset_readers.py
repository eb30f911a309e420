import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.dataset_readers import read_clip, split_clip
from tests.synthetic import edited_json, write_clip
from utils.errors import UserError, exit_on_user_error


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip", num_frames=6)


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "clip")


def refusal(root, capsys, only_head=False):
    """What the user sees: the script ends with 2 and this line."""
    with pytest.raises(SystemExit) as exit_:
        exit_on_user_error(read_clip)(root, only_head)
    assert exit_.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


# --- what is read


def test_records_hold_what_the_file_says(root):
    clip = read_clip(root)
    document = json.loads((root / "transforms.json").read_text())
    assert (clip.width, clip.height) == (32, 24)
    assert (clip.fx, clip.fy, clip.cx, clip.cy) == (96, 96, 16, 12)
    assert clip.expression_names == ("shape0", "shape1", "shape2", "shape3", "shape4")
    for record, entry in zip(clip.frames, document["frames"], strict=True):
        assert record.image_id == entry["img_id"]
        np.testing.assert_array_equal(record.camera_to_world, entry["transform_matrix"])
        np.testing.assert_array_equal(record.expression, np.float32(entry["exp_ori"]))
        assert record.image_path.name == f"{entry['img_id']}.png"
        assert record.parsing_path is None
    assert read_clip(root, only_head=True).frames[2].parsing_path == root / "parsing" / "2.png"


@pytest.mark.parametrize("offset", [0, 1])
def test_mask_offset_follows_the_mask_behind_the_last_id(tmp_path, offset):
    clip = read_clip(write_clip(tmp_path / "clip", 4, mask_offset=offset))
    assert clip.mask_offset == offset
    assert [record.mask_path.name for record in clip.frames] == [f"{i + offset}.png" for i in range(4)]
    assert f"mask/4.png {'exists' if offset else 'does not exist'}" in clip.notes[0]


def test_a_mask_offset_that_is_given_holds(tmp_path):
    root = write_clip(tmp_path / "clip", 4, mask_offset=0)
    with edited_json(root) as document:
        document["mask_offset"] = 0
        del document["frames"][-1]
    clip = read_clip(root)
    assert [record.mask_path.name for record in clip.frames] == ["0.png", "1.png", "2.png"]
    assert "because mask_offset is 0" in clip.notes[0]
    with edited_json(root) as document:
        document["mask_offset"] = "one"
    with pytest.raises(UserError, match="mask_offset: expected 0 or 1, found 'one'"):
        read_clip(root)


def test_ids_need_not_be_contiguous_and_order_is_time(tmp_path):
    clip = read_clip(write_clip(tmp_path / "clip", 4, image_ids=[40, 7, 100, 8], mask_offset=0))
    assert [record.image_id for record in clip.frames] == [7, 8, 40, 100]


def test_jpg_frames_any_expression_length_and_missing_names_are_fine(tmp_path):
    root = write_clip(tmp_path / "clip", 3, num_expressions=100, suffix=".jpg")
    with edited_json(root) as document:
        del document["exp_names"]
    clip = read_clip(root)
    document = json.loads((root / "transforms.json").read_text())
    for record, entry in zip(clip.frames, document["frames"], strict=True):
        np.testing.assert_array_equal(record.expression, np.float32(entry["exp_ori"]))
    assert len(clip.frames[0].expression) == 100
    assert clip.expression_names is None
    assert clip.frames[0].image_path.suffix == ".jpg"


def test_near_plane_follows_close_cameras(root):
    assert read_clip(root).near == 0.2
    with edited_json(root) as document:
        for entry in document["frames"]:
            for row in entry["transform_matrix"][:3]:
                row[3] /= 10
    assert read_clip(root, check_data=False).near == pytest.approx(0.03)


# --- what is refused: transforms.json


def change_frame(key, value):
    def change(document):
        document["frames"][3][key] = value(document["frames"][3][key]) if callable(value) else value

    return change


def change_matrix(change):
    def changed(matrix):
        array = np.array(matrix)
        change(array)
        return array.tolist()

    return change_frame("transform_matrix", changed)


def mirror(matrix):
    matrix[:3, 0] *= -1


def opencv_axes(matrix):
    matrix[:3, 1:3] *= -1


def delete(*keys):
    def change(document):
        for key in keys[:-1]:
            document = document[key]
        del document[keys[-1]]

    return change


JSON_DEFECTS = {
    "no w": (delete("w"), "w: missing"),
    "w is text": (lambda d: d.update(w="32"), 'w: expected a positive number of pixels, found "32"'),
    "h is zero": (lambda d: d.update(h=0), "h: expected a positive number"),
    "w is broken": (lambda d: d.update(w=31.5), "w: expected a whole number of pixels, found 31.5"),
    "fx is negative": (lambda d: d.update(fx=-1), "fx: expected a positive number of pixels, found -1"),
    "fy is NaN": (lambda d: d.update(fy=math.nan), "fy: expected a positive number of pixels, found NaN"),
    "cx is infinite": (lambda d: d.update(cx=math.inf), "cx: expected a finite number"),
    "cy is true": (lambda d: d.update(cy=True), "cy: expected a finite number of pixels, found true"),
    "no frames": (delete("frames"), "frames: expected a list with an entry for each frame, missing"),
    "empty frames": (
        lambda d: d.update(frames=[]),
        "frames: expected a list with an entry for each frame, found []",
    ),
    "no id": (
        delete("frames", 3, "img_id"),
        "frames[3].img_id: expected an integer of 0 or more, found nothing",
    ),
    "id is text": (
        change_frame("img_id", "3"),
        'frames[3].img_id: expected an integer of 0 or more, found "3"',
    ),
    "negative id": (change_frame("img_id", -1), "frames[3].img_id"),
    "frame is no object": (lambda d: d["frames"].append(5), "frames[6].img_id"),
    "duplicate id": (change_frame("img_id", 2), "frames: img_id 2 occurs 2 times"),
    "no matrix": (
        delete("frames", 3, "transform_matrix"),
        "img_id 3: transform_matrix: missing; expected 4 x 4",
    ),
    "3 x 4": (
        change_frame("transform_matrix", lambda m: m[:3]),
        "img_id 3: transform_matrix: expected 4 x 4 numbers, found",
    ),
    "ragged": (
        change_frame("transform_matrix", [[1, 2], [3]]),
        "img_id 3: transform_matrix: expected 4 x 4 numbers",
    ),
    "NaN": (
        change_matrix(lambda m: m.__setitem__((1, 2), np.nan)),
        "img_id 3: transform_matrix: expected finite numbers",
    ),
    "last row": (
        change_matrix(lambda m: m.__setitem__((3, 0), 0.5)),
        "img_id 3: transform_matrix: last row: expected 0 0 0 1",
    ),
    "scaled": (
        change_matrix(lambda m: m.__imul__([[1.01] * 3 + [1]] * 4)),
        "img_id 3: transform_matrix: rotation is not orthonormal",
    ),
    "mirrored": (change_matrix(mirror), "img_id 3: transform_matrix: rotation has determinant -1"),
    "OpenCV axes": (
        change_matrix(opencv_axes),
        "img_id 3: transform_matrix: the head (the origin) is not in front",
    ),
    "no expression": (delete("frames", 3, "exp_ori"), "img_id 3: exp_ori: missing"),
    "unequal lengths": (
        change_frame("exp_ori", lambda e: e[:4]),
        "img_id 3: exp_ori: expected 5 values as in img_id 0, found 4",
    ),
    "empty expression": (change_frame("exp_ori", []), "img_id 3: exp_ori: expected a list of numbers"),
    "null in expression": (
        change_frame("exp_ori", [0, 0, None, 0, 0]),
        "img_id 3: exp_ori[2]: expected a finite number",
    ),
    "text in expression": (
        change_frame("exp_ori", [0, 0, "x", 0, 0]),
        "img_id 3: exp_ori: expected a list of numbers",
    ),
    "huge integer": (
        change_frame("exp_ori", [0, 0, 10**400, 0, 0]),
        "img_id 3: exp_ori[2]: expected a finite number",
    ),
    "huge id": (change_frame("img_id", 10**400), "frames[3].img_id: expected an integer of 0 or more"),
    "huge size": (lambda d: d.update(w=10**400), "w: expected a positive number"),
    "huge expression": (change_frame("exp_ori", [0, 0, 1e300, 0, 0]), "img_id 3: exp_ori: too large"),
    "too few names": (
        lambda d: d["exp_names"].pop(),
        "exp_names: expected 5 names, one per value of exp_ori, found 4",
    ),
    "names twice": (lambda d: d.update(exp_names=list("abcda")), "exp_names: 'a' occurs more than once"),
    "names are numbers": (lambda d: d.update(exp_names=[1] * 5), "exp_names: expected a list of names"),
}


@pytest.mark.parametrize(("change", "message"), JSON_DEFECTS.values(), ids=JSON_DEFECTS)
def test_defects_of_the_json_are_refused_by_file_and_field(root, capsys, change, message):
    with edited_json(root) as document:
        change(document)
    line = refusal(root, capsys)
    assert f"{root / 'transforms.json'}: {message}" in line


def test_small_rounding_of_rotations_is_accepted(root):
    with edited_json(root) as document:
        change_matrix(lambda m: m.__imul__([[1 + 2e-4] * 3 + [1]] * 4))(document)
    assert len(read_clip(root).frames) == 6


def test_truncated_json_names_line_and_column(root, capsys):
    path = root / "transforms.json"
    path.write_text('{\n "h": 24,\n "w": ')
    assert f"{path}: line 3 column 7" in refusal(root, capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "line 1 column 1"), (b"[]", "expected an object"), (b"\xff", "cannot be read")],
)
def test_files_that_are_no_json_object_are_refused(root, capsys, content, message):
    (root / "transforms.json").write_bytes(content)
    assert f"{root / 'transforms.json'}: {message}" in refusal(root, capsys)


def test_missing_json_and_missing_folder_are_refused(root, capsys):
    (root / "transforms.json").unlink()
    assert f"{root / 'transforms.json'}: missing" in refusal(root, capsys)
    assert f"{root / 'nowhere'}: no such folder" in refusal(root / "nowhere", capsys)


# --- what is refused: files


def test_missing_frames_and_masks_are_refused_and_counted(root, capsys):
    (root / "mask" / "3.png").unlink()
    assert f"{root / 'mask' / '3.png'}: missing; expected an 8-bit matte" in refusal(root, capsys)
    (root / "ori_imgs" / "4.png").unlink()
    (root / "ori_imgs" / "5.png").unlink()
    assert f"{root / 'ori_imgs' / '4.jpg'}: missing (and 1 more); expected ori_imgs/" in refusal(root, capsys)


def test_missing_parsing_maps_matter_only_for_the_head(root, capsys):
    shutil.rmtree(root / "parsing")
    line = refusal(root, capsys, only_head=True)
    assert f"{root / 'parsing' / '0.png'}: missing (and 5 more); --only_head needs a face parsing map" in line
    assert "or train without --only_head" in line
    assert read_clip(root).frames


@pytest.mark.parametrize("folder", ["ori_imgs", "mask", "parsing"])
def test_images_of_the_wrong_size_are_refused(root, capsys, folder):
    path = root / folder / "2.png"
    cv2.imwrite(str(path), np.full((24, 31, 3), 255, np.uint8))
    assert f"{path}: size 31 x 24; expected 32 x 24, the w x h" in refusal(root, capsys, only_head=True)


@pytest.mark.parametrize("folder", ["ori_imgs", "mask", "parsing"])
def test_truncated_png_is_refused_before_training(root, capsys, folder):
    path = root / folder / "2.png"
    path.write_bytes(path.read_bytes()[:-20])
    assert f"{path}: truncated PNG" in refusal(root, capsys, only_head=True)


def test_truncated_jpeg_is_refused_before_training(tmp_path, capsys):
    root = write_clip(tmp_path / "clip", 3, suffix=".jpg")
    path = root / "ori_imgs" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-30])
    assert f"{path}: truncated JPEG" in refusal(root, capsys)


def test_masks_and_parsing_maps_of_the_wrong_kind_are_refused(root, capsys):
    mask, parsing = root / "mask" / "2.png", root / "parsing" / "2.png"
    kept = mask.read_bytes()
    cv2.imwrite(str(mask), np.full((24, 32), 65535, np.uint16))
    assert f"{mask}: 16-bit gray; expected an 8-bit gray matte" in refusal(root, capsys)
    cv2.imwrite(str(mask), np.full((24, 32, 4), 255, np.uint8))
    assert f"{mask}: 8-bit RGBA; expected an 8-bit gray matte" in refusal(root, capsys)
    mask.write_bytes(kept)
    cv2.imwrite(str(parsing), np.full((24, 32), 255, np.uint8))
    assert f"{parsing}: 8-bit gray; expected 8-bit RGB" in refusal(root, capsys, only_head=True)


def test_masks_and_parsing_maps_that_select_nothing_are_refused(root, capsys):
    mask, parsing = root / "mask" / "1.png", root / "parsing" / "0.png"
    # A red head: the channels are swapped.
    cv2.imwrite(str(parsing), cv2.imread(str(parsing))[..., ::-1])
    assert f"{parsing}: no pixel is pure blue" in refusal(root, capsys, only_head=True)
    cv2.imwrite(str(mask), np.zeros((24, 32), np.uint8))
    assert f"{mask}: all zero" in refusal(root, capsys)


# --- through the script


@pytest.mark.parametrize("defect", ["json", "jpeg", "split"])
def test_training_does_not_begin_on_a_defect(tmp_path, capsys, defect):
    from train import main

    root = write_clip(tmp_path / "clip", 4, suffix=".jpg")
    if defect == "json":
        (root / "transforms.json").write_text('{"h": 24,')
    elif defect == "jpeg":
        path = root / "ori_imgs" / "2.jpg"
        path.write_bytes(path.read_bytes()[:-30])
    flags = ["--test_frames", "4"] if defect == "split" else []
    with pytest.raises(SystemExit) as exit_:
        main(["-s", str(root), "-m", str(tmp_path / "out"), "--device", "cpu", *flags])
    assert exit_.value.code == 2
    expected = {
        "json": f"{root / 'transforms.json'}: line 1 column 10",
        "jpeg": f"{root / 'ori_imgs' / '2.jpg'}: truncated JPEG",
        "split": "--test_frames 4: no frame is left to train on",
    }
    assert capsys.readouterr().err.startswith(f"error: {expected[defect]}")
    assert not (tmp_path / "out").exists()


# --- the split


def lengths(split):
    return tuple(map(len, split))


@pytest.mark.parametrize(
    ("num_frames", "num_test"),
    [(250, 38), (302, 45), (125, 19), (2499, 375), (2500, 500), (6000, 500), (2, 1)],
)
def test_default_split_holds_out_the_end(num_frames, num_test):
    split = split_clip(num_frames, eval=True)
    assert split.test == tuple(range(num_frames - num_test, num_frames))
    assert split.train == tuple(range(num_frames - num_test))
    assert split.val == ()


def test_validation_frames_lie_before_the_held_out_ones():
    split = split_clip(100, eval=True, test_frames=20, val_frames=10)
    assert split.train == tuple(range(70))
    assert split.val == tuple(range(70, 80))
    assert split.test == tuple(range(80, 100))
    assert lengths(split_clip(100, eval=False, val_frames=10)) == (90, 10, 0)
    assert lengths(split_clip(100, eval=False)) == (100, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((50, True, 50), "--test_frames 50: no frame is left to train on; it has 50 frames"),
        ((50, True, 20, 30), "--test_frames 20 and --val_frames 30: no frame is left"),
        ((50, False, None, 60), "--val_frames 60: no frame is left"),
        ((1, True), "--test_frames 1: no frame is left"),
    ],
)
def test_empty_training_split_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        split_clip(*arguments)


def test_thinning_keeps_the_parts_apart_and_spreads_over_each():
    split = split_clip(250, eval=True, val_frames=20)
    thin = split.thinned(40)
    assert sum(lengths(thin)) <= 42
    assert all(set(part) <= set(whole) and part for part, whole in zip(thin, split, strict=True))
    gaps = np.diff(thin.train)
    assert gaps.max() - gaps.min() <= 1
    assert split.thinned(0) == split
    assert split.thinned(1000) == split
    assert lengths(split_clip(100, eval=True).thinned(1)) == (1, 0, 1)


# --- the clip that comes with the project


def test_the_demo_clip_is_complete_small_and_splits():
    root = Path(__file__).resolve().parents[2] / "data" / "demo"
    clip = read_clip(root, only_head=True)
    assert lengths(split_clip(len(clip.frames), eval=True)) == (106, 0, 19)
    assert (clip.width, clip.height, clip.mask_offset) == (256, 256, 1)
    assert len(clip.expression_names) == 52
    assert (root / "SOURCE.md").is_file()
    assert sum(path.stat().st_size for path in root.rglob("*")) < 4_000_000
