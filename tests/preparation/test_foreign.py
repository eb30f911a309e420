"""Synthetic files in the formats of others: a camera that looks at the head from 1 m, pictures of noise."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from preparation.foreign import UNITS_PER_METRE, convert
from preparation.rigid import exp_so3
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
    for index in reversed(range(FRAMES)):  # its files are in any order
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
    assert convert(name, source, out, quiet=True) == FRAMES
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
    assert convert("insta", insta, out, overwrite=True, quiet=True) == FRAMES
