"""Folders that people have but the layouts' own writers never make: other suffixes, sizes, gaps, places."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from preparation.converters.convert import convert
from scene.dataset_readers import read_clip
from tests.preparation.converters import layouts
from tests.preparation.converters.layouts import VIEWS, moving_views, still_scene
from utils.errors import UserError

FRAMES = 3


def write_flashavatar(root: Path, name: str = "{:05d}.jpg") -> Path:
    """Pictures from 1, the tracker's files from 0; the tracker is a frame ahead at the end."""
    views = moving_views(FRAMES + 1)
    layouts.write_frames_of_metrical_tracker(root / "checkpoint", still_scene(FRAMES + 1), views)
    for index, view in enumerate(views[:FRAMES]):
        for folder, pixels in zip(("imgs", "alpha"), layouts.draw(view, np.eye(4)), strict=True):
            layouts.save(root / folder / name.format(index + 1), pixels)
    return root


def write_insta(root: Path) -> Path:
    frames = []
    (root / "images").mkdir(parents=True)
    for index, view in enumerate(moving_views(FRAMES)):
        image, matte = layouts.draw(view, np.eye(4))
        cv2.imwrite(str(root / f"images/{index}.png"), np.dstack([image, matte]))
        for kind, size in (("exp", 50), ("jaw", 6)):
            (root / "flame" / kind).mkdir(parents=True, exist_ok=True)
            np.savetxt(root / f"flame/{kind}/{index}.txt", np.full(size, 0.1 * index))
        matrix = np.linalg.inv(view.world_to_camera).tolist()
        paths = {"file_path": f"images/{index}.png", "exp_path": f"flame/exp/{index}.txt"}
        frames.append({"transform_matrix": matrix, **paths})
    (width, height), focal = view.size, view.focal
    shared = {"w": width, "h": height, "fl_x": focal, "fl_y": focal + 1}
    shared |= {"cx": view.center[0], "cy": view.center[1]}
    layouts.save_json(root / "transforms.json", shared | {"frames": frames})
    return root


def write_nerfblendshape(root: Path) -> Path:
    layouts.write_nerfblendshape(root, still_scene(FRAMES), moving_views(FRAMES))
    return root


def write_vhap(root: Path) -> Path:
    layouts.write_vhap(root, still_scene(FRAMES), VIEWS[:1])
    return root


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("name", ["{:05d}.png", "{}.jpg", "{:05d}.JPG", "{:04d}.jpeg"])
def test_pictures_of_flashavatar_are_found_by_their_numbers(tmp_path, name):
    source = write_flashavatar(tmp_path / "in", name)
    assert convert("flashavatar", source, tmp_path / "out", quiet=True).num_frames == FRAMES
    assert len(read_clip(tmp_path / "out").frames) == FRAMES


def test_frames_without_a_picture_are_told_but_for_the_last(tmp_path):
    source = write_flashavatar(tmp_path / "in")
    assert convert("flashavatar", source, tmp_path / "a", quiet=True).notes == ()
    for folder in ("imgs", "alpha"):
        (source / folder / "00002.jpg").unlink()
    converted = convert("flashavatar", source, tmp_path / "b", quiet=True)
    assert converted.num_frames == FRAMES - 1
    assert "1 frame of the tracker has no picture in imgs/ and alpha/, left out: 2" in converted.notes


def test_what_flashavatar_lacks_is_named(tmp_path):
    source = write_flashavatar(tmp_path / "in")
    (source / "alpha/00002.jpg").unlink()
    with pytest.raises(UserError, match=r"alpha.00002\.jpg: missing"):
        convert("flashavatar", source, tmp_path / "out", quiet=True)
    for path in (source / "imgs").iterdir():
        path.unlink()
    for path in (source / "alpha").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"imgs.00001\.jpg: missing"):
        convert("flashavatar", source, tmp_path / "out", quiet=True)
    for path in (source / "checkpoint").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"checkpoint: no <n>\.frame"):
        convert("flashavatar", source, tmp_path / "out", quiet=True)


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".PNG"])
def test_pictures_with_other_suffixes_are_found(tmp_path, suffix):
    write_nerfblendshape(tmp_path / "nerfblendshape")
    layouts.write_imavatar(tmp_path / "imavatar", still_scene(FRAMES), VIEWS[0])
    layouts.write_frames_of_metrical_tracker(
        tmp_path / "flame-frames/checkpoint", still_scene(FRAMES), moving_views(FRAMES)
    )
    for index, view in enumerate(moving_views(FRAMES)):
        for folder, pixels in zip(("input", "mask"), layouts.draw(view, np.eye(4)), strict=True):
            layouts.save(tmp_path / f"flame-frames/{folder}/{index:05d}.png", pixels)
    for folder in ("nerfblendshape/ori_imgs", "imavatar/image", "flame-frames/input"):
        for path in (tmp_path / folder).iterdir():
            content = cv2.imencode(suffix, cv2.imread(str(path)))[1].tobytes()
            path.unlink()
            path.with_suffix(suffix).write_bytes(content)
    for name in ("nerfblendshape", "imavatar", "flame-frames"):
        assert convert(name, tmp_path / name, tmp_path / "out", True, quiet=True).num_frames == FRAMES


def test_names_of_imavatar_may_end_in_capitals(tmp_path):
    layouts.write_imavatar(tmp_path / "in", still_scene(FRAMES), VIEWS[0])
    path = tmp_path / "in/flame_params.json"
    document = json.loads(path.read_text())
    for entry in document["frames"]:
        entry["file_path"] += ".PNG"
    path.write_text(json.dumps(document))
    assert convert("imavatar", tmp_path / "in", tmp_path / "out", quiet=True).num_frames == FRAMES


@pytest.mark.parametrize("write", [write_insta, write_vhap, write_nerfblendshape])
def test_pictures_of_another_size_than_their_intrinsics_are_refused(tmp_path, write):
    """At 3/4 of its size the principal point is still inside: every projection would be off by a third."""
    source, name = write(tmp_path / "in"), write.__name__.removeprefix("write_")
    for path in source.rglob("*.png"):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), cv2.resize(pixels, None, fx=0.75, fy=0.75))
    with pytest.raises(UserError, match=r"72 x 72 pixels; transforms\.json tells its camera for 96 x 96"):
        convert(name, source, tmp_path / "out", quiet=True)


def test_mask_offset_of_the_source_is_kept_to(tmp_path):
    source = write_nerfblendshape(tmp_path / "in")
    edit(source / "transforms.json", mask_offset=0)
    # One more than frames: by the files alone, masks would be off by one.
    matte = cv2.imread(str(source / "mask/1.png"), cv2.IMREAD_GRAYSCALE) // 2 + 100
    layouts.save(source / "mask/0.png", matte)
    convert("nerfblendshape", source, tmp_path / "out", quiet=True, check_data=False)
    found = cv2.imread(str(tmp_path / "out/mask/1.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(found, matte)


def test_a_file_of_coefficients_is_named_without_a_warning(tmp_path, recwarn):
    source = write_insta(tmp_path / "in")
    for content in ("", "0,1 0,2", "\x00"):
        (source / "flame/exp/1.txt").write_text(content)
        with pytest.raises(UserError, match=r"exp.1\.txt: expected numbers"):
            convert("insta", source, tmp_path / "out", quiet=True)
    assert not recwarn


def test_the_frame_that_differs_is_named_wherever_it_is(tmp_path):
    source = write_insta(tmp_path / "in")
    np.savetxt(source / "flame/exp/0.txt", np.zeros(49))
    with pytest.raises(UserError, match=r"0\.txt: 55 expression coefficients; expected 56"):
        convert("insta", source, tmp_path / "out", quiet=True)


def test_what_only_some_frames_have_is_left_out_and_told(tmp_path):
    source = write_insta(tmp_path / "in")
    (source / "flame/jaw/1.txt").unlink()
    converted = convert("insta", source, tmp_path / "out", quiet=True)
    assert "flame/jaw: left out, 1 of 3 frames have no file there" in converted.notes
    assert len(read_clip(tmp_path / "out").expression_names) == 50


def test_messages_about_mattes_name_the_sources_own_files(tmp_path):
    source = write_vhap(tmp_path / "in")
    for path in (source / "fg_masks").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)) // 255)
    with pytest.raises(UserError, match=re.escape(str(source / "fg_masks"))):
        convert("vhap", source, tmp_path / "out", quiet=True)


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path):
    source, out = write_nerfblendshape(tmp_path / "in"), tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(UserError, match="is a file; expected a folder"):
        convert("nerfblendshape", source, out, overwrite=True, quiet=True)
    assert out.read_text() == "mine" and sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_pictures_that_are_no_data_set_yet_are_not_removed(tmp_path):
    source, mine = write_nerfblendshape(tmp_path / "in"), tmp_path / "out/ori_imgs/holiday.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"ori_imgs.*--overwrite"):
        convert("nerfblendshape", source, tmp_path / "out", quiet=True)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("key", ["file_path", "exp_path"])
def test_a_name_that_is_missing_is_named(tmp_path, key):
    source = write_insta(tmp_path / "in")
    document = json.loads((source / "transforms.json").read_text())
    del document["frames"][1][key]
    layouts.save_json(source / "transforms.json", document)
    with pytest.raises(UserError, match=rf"transforms\.json: {key}: expected the name of a file, found none"):
        convert("insta", source, tmp_path / "out", quiet=True)


def test_files_that_macos_leaves_beside_others_are_none_of_the_tracker(tmp_path):
    source = write_flashavatar(tmp_path / "in")
    (source / "checkpoint/._00001.frame").write_bytes(b"AppleDouble")
    (source / "imgs/._00001.jpg").write_bytes(b"AppleDouble")
    assert convert("flashavatar", source, tmp_path / "out", quiet=True).num_frames == FRAMES
