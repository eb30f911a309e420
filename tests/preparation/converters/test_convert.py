"""Synthetic files in the formats of others: a camera that looks at the head from 1 m, pictures of noise."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import prepare as script
from preparation.converters.convert import convert
from preparation.converters.record import UNITS_PER_METRE
from preparation.geometry.rigid import exp_so3
from scene.dataset_readers import read_clip
from utils.errors import UserError

SIZE, FRAMES, FOCAL = 32, 4, 60.0


def world_to_camera(index: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = exp_so3(np.array([0, 0.1 * index, 0])) @ np.diag([1.0, -1, -1])
    matrix[:3, 3] = [0.01 * index, 0.02, 1.0]
    return matrix


def picture(index: int, channels: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (SIZE, SIZE, channels), dtype=np.uint8)


@pytest.fixture
def insta(tmp_path) -> Path:
    root = tmp_path / "insta"
    (root / "images").mkdir(parents=True)
    (root / "flame/exp").mkdir(parents=True)
    entries = []
    # Its files are in any order.
    for index in reversed(range(FRAMES)):
        name = f"{index:05d}"
        cv2.imwrite(str(root / f"images/{name}.png"), picture(index, 4))
        np.savetxt(root / f"flame/exp/{name}.txt", np.linspace(-1, 1, 100) * index)
        matrix = np.linalg.inv(world_to_camera(index)).tolist()
        entries.append(
            {
                "transform_matrix": matrix,
                "file_path": f"images/{name}.png",
                "exp_path": f"flame/exp/{name}.txt",
            }
        )
    document = {
        "w": SIZE,
        "h": SIZE,
        "cx": 15.0,
        "cy": 17.0,
        "fl_x": FOCAL,
        "fl_y": FOCAL + 1,
        "frames": entries,
    }
    (root / "transforms.json").write_text(json.dumps(document))
    return root


@pytest.fixture
def flashavatar(tmp_path) -> Path:
    root = tmp_path / "flashavatar"
    for folder in ("imgs", "alpha", "checkpoint"):
        (root / folder).mkdir(parents=True)
    for index in range(FRAMES):
        matrix = world_to_camera(index)
        intrinsics = np.array([[FOCAL, 0, 15], [0, FOCAL + 1, 17], [0, 0, 1]], np.float32)
        flame = {"exp": 100, "eyes": 12, "eyelids": 2, "jaw": 6, "shape": 300}
        payload = {
            "flame": {name: np.full((1, size), index, np.float32) for name, size in flame.items()},
            "opencv": {
                "R": matrix[None, :3, :3].astype(np.float32),
                "t": matrix[None, :3, 3].astype(np.float32),
                "K": intrinsics[None],
            },
            "img_size": np.array([SIZE, SIZE]),
            "frame_id": f"{index:05d}",
            "global_step": index,
        }
        torch.save(payload, root / f"checkpoint/{index:05d}.frame")
        cv2.imwrite(str(root / f"imgs/{index + 1:05d}.jpg"), picture(index, 3))
        cv2.imwrite(str(root / f"alpha/{index + 1:05d}.jpg"), picture(index, 1))
    return root


@pytest.mark.parametrize(("name", "num_expressions"), [("insta", 100), ("flashavatar", 120)])
def test_a_foreign_data_set_becomes_one_that_training_reads(name, num_expressions, tmp_path, request):
    source, out = request.getfixturevalue(name), tmp_path / "out"
    assert convert(name, source, out, quiet=True).num_frames == FRAMES
    clip = read_clip(out)
    assert (clip.fx, clip.fy, clip.cx, clip.cy) == (FOCAL, FOCAL + 1, 15, 17)
    assert len(clip.expression_names) == num_expressions
    assert clip.expression_names[0] == "exp0"
    for index, frame in enumerate(clip.frames):
        assert frame.expression[99] == pytest.approx(index)
        opengl = frame.camera_to_world @ np.diag([1.0, -1, -1, 1])
        wanted = world_to_camera(index)
        wanted[:3, 3] *= UNITS_PER_METRE
        assert np.allclose(np.linalg.inv(opengl), wanted, atol=1e-6)


def test_the_matte_of_insta_is_the_images_alpha(insta, tmp_path):
    convert("insta", insta, tmp_path / "out", quiet=True)
    assert np.array_equal(
        cv2.imread(str(tmp_path / "out/mask/3.png"), cv2.IMREAD_GRAYSCALE), picture(2, 4)[..., 3]
    )
    assert np.array_equal(cv2.imread(str(tmp_path / "out/ori_imgs/2.png")), picture(2, 4)[..., :3])


def test_a_torch_file_that_would_run_code_is_refused(flashavatar, tmp_path):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (ran,))

    torch.save({"flame": Trap()}, flashavatar / "checkpoint/00000.frame")
    with pytest.raises(UserError, match=r"00000\.frame: cannot be read as arrays"):
        convert("flashavatar", flashavatar, tmp_path / "out", quiet=True)
    assert not ran.exists()


def test_defects_name_the_file(insta, flashavatar, tmp_path):
    (insta / "flame/exp/00002.txt").unlink()
    with pytest.raises(UserError, match=r"00002\.txt"):
        convert("insta", insta, tmp_path / "a", quiet=True)
    torch.save({"flame": {}}, flashavatar / "checkpoint/00001.frame")
    with pytest.raises(UserError, match=r"00001\.frame: not as the metrical tracker writes it"):
        convert("flashavatar", flashavatar, tmp_path / "b", quiet=True)
    with pytest.raises(UserError, match="no such folder"):
        convert("insta", tmp_path / "nothing", tmp_path / "c", quiet=True)


def test_a_data_set_is_not_overwritten_unless_told(insta, tmp_path):
    out = tmp_path / "out"
    convert("insta", insta, out, quiet=True)
    with pytest.raises(UserError, match="--overwrite"):
        convert("insta", insta, out, quiet=True)
    assert convert("insta", insta, out, overwrite=True, quiet=True).num_frames == FRAMES


def edited(root: Path, change) -> None:
    document = json.loads((root / "transforms.json").read_text())
    change(document)
    (root / "transforms.json").write_text(json.dumps(document))


def not_finite_expression(root: Path) -> str:
    path = root / "flame/exp/00002.txt"
    np.savetxt(path, np.full(100, np.nan))
    return f"{path}: expression: expected finite numbers"


def not_finite_pose(root: Path) -> str:
    edited(root, lambda document: document["frames"][1]["transform_matrix"][0].__setitem__(3, float("nan")))
    return "transforms.json: 00002.png: pose: expected finite numbers"


def twice(root: Path) -> str:
    edited(root, lambda document: document["frames"].append(document["frames"][0]))
    return "00003.png is there more than once"


def no_matte(root: Path) -> str:
    cv2.imwrite(str(root / "images/00003.png"), picture(3, 3))
    return "00003.png: no mask file beside it; expected a matte in its alpha channel"


def no_picture(root: Path) -> str:
    (root / "images/00001.png").unlink()
    return "00001.png: missing; transforms.json names it"


def mirrored(root: Path) -> str:
    edited(root, lambda document: document["frames"][0]["transform_matrix"][0].__setitem__(0, -9))
    return "transform_matrix: rotation is not orthonormal"


DEFECTS = [not_finite_expression, not_finite_pose, twice, no_matte, no_picture, mirrored]


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_one_line_and_what_was_there_stays(insta, tmp_path, defect):
    out = tmp_path / "out"
    convert("insta", insta, out, quiet=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    message = defect(insta)
    with pytest.raises(UserError, match=re.escape(message)):
        convert("insta", insta, out, overwrite=True, quiet=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(UserError):
        convert("insta", insta, tmp_path / "new", quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["insta", "out"]


@pytest.mark.parametrize("place", [".", "inside", ".."])
def test_a_source_is_never_written_over(insta, place):
    before = {path: path.read_bytes() for path in insta.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"the folder that is read"):
        convert("insta", insta, insta / place, overwrite=True, quiet=True)
    assert {path: path.read_bytes() for path in insta.rglob("*") if path.is_file()} == before


def test_sixteen_bits_become_eight(insta, tmp_path):
    wide = picture(1, 4).astype(np.uint16) * 257
    cv2.imwrite(str(insta / "images/00001.png"), wide)
    convert("insta", insta, tmp_path / "out", quiet=True)
    image, matte = (
        cv2.imread(str(tmp_path / "out" / name), cv2.IMREAD_UNCHANGED)
        for name in ("ori_imgs/1.png", "mask/2.png")
    )
    assert np.array_equal(image, picture(1, 4)[..., :3]) and np.array_equal(matte, picture(1, 4)[..., 3])


def test_parsing_maps_are_taken_along_where_every_frame_has_one(insta, tmp_path):
    (insta / "seg_mask").mkdir()
    for index in range(FRAMES):
        pixels = picture(10 + index, 3)
        # Of the colour that says: these are our colours already.
        pixels[0, 0] = (255, 0, 0)
        cv2.imwrite(str(insta / f"seg_mask/{index:05d}.png"), pixels)

    def name_them(document):
        for entry in document["frames"]:
            entry["seg_mask_path"] = entry["file_path"].replace("images", "seg_mask")

    edited(insta, name_them)
    convert("insta", insta, tmp_path / "out", quiet=True)
    assert np.array_equal(cv2.imread(str(tmp_path / "out/parsing/2.png"))[1:], picture(12, 3)[1:])
    (insta / "seg_mask/00000.png").unlink()
    convert("insta", insta, tmp_path / "other", quiet=True)
    assert not (tmp_path / "other/parsing").exists()


def test_files_of_a_split_and_paths_of_windows_are_read_too(insta, tmp_path):
    document = json.loads((insta / "transforms.json").read_text())
    for entry in document["frames"]:
        entry |= {key: entry[key].replace("/", "\\") for key in ("file_path", "exp_path")}
    parts = {"train": document["frames"][:3], "test": document["frames"][3:], "val": document["frames"][2:]}
    for name, frames in parts.items():
        (insta / f"transforms_{name}.json").write_text(json.dumps(document | {"frames": frames}))
    (insta / "transforms.json").unlink()
    assert convert("insta", insta, tmp_path / "out", quiet=True).num_frames == FRAMES
    assert [frame.image_id for frame in read_clip(tmp_path / "out").frames] == list(range(FRAMES))


def test_quiet_is_quiet_and_the_script_converts(insta, tmp_path, capfd):
    script.main(["--from", "insta", str(insta), str(tmp_path / "out"), "--quiet"])
    assert capfd.readouterr() == ("", "")
    assert len(read_clip(tmp_path / "out").frames) == FRAMES


def test_what_a_killed_conversion_left_is_removed(insta, tmp_path):
    left = tmp_path / ".out.999.part/ori_imgs"
    left.mkdir(parents=True)
    convert("insta", insta, tmp_path / "out", quiet=True)
    assert not left.parent.exists()


def test_mattes_that_select_nobody_are_refused_unless_told_otherwise(insta, tmp_path):
    for path in (insta / "images").iterdir():
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        pixels[..., 3] //= 128
        cv2.imwrite(str(path), pixels)
    with pytest.raises(UserError, match="largest value is 1") as error:
        convert("insta", insta, tmp_path / "out", quiet=True)
    assert ".part" not in str(error.value) and not (tmp_path / "out").exists()
    assert convert("insta", insta, tmp_path / "out", quiet=True, check_data=False).num_frames == FRAMES
