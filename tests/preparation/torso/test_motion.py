import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from preparation.geometry.camera import Camera
from preparation.torso.clothes import add_torso
from preparation.torso.motion import to_transforms, track_torso
from scene.dataset_readers import read_clip
from tests.synthetic import edited_json, write_clip
from utils.errors import UserError

SIZE, FOCAL, DISTANCE, FRAMES = 256, 800.0, 3.4, 21
CAMERA = Camera(FOCAL, np.array([SIZE / 2, SIZE / 2]))


def coat() -> np.ndarray:
    noise = np.random.default_rng(0).uniform(size=(SIZE, SIZE)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.cvtColor(
        cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8), cv2.COLOR_GRAY2RGB
    )


def follow(numbers: np.ndarray):
    """Track a coat that moves by x, y, z (head units, OpenGL camera axes) and roll [F, 4]."""

    def read_frame(frame: int) -> np.ndarray:
        x, y, z, roll = numbers[frame]
        near = DISTANCE / (DISTANCE - z)
        c, s = near * np.cos(roll), near * np.sin(roll)
        # y of pixels points down.
        linear = np.array([[c, s], [-s, c]])
        shift = np.array([x, -y]) * near * FOCAL / DISTANCE
        motion = np.column_stack([linear, CAMERA.center - 0.5 - linear @ (CAMERA.center - 0.5) + shift])
        return cv2.warpAffine(coat(), motion, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)

    def read_region(frame: int) -> np.ndarray:
        return np.arange(SIZE)[:, None] + np.zeros((1, SIZE)) > 150

    return track_torso(read_frame, read_region, FRAMES, CAMERA, DISTANCE, quiet=True)


def test_a_shift_is_found_in_head_units():
    time = np.linspace(0, 2 * np.pi, FRAMES)
    numbers = np.zeros((FRAMES, 4))
    numbers[:, 0], numbers[:, 1] = 0.03 * np.sin(time), 0.02 * np.cos(time)
    motion = follow(numbers)
    wanted = numbers - np.median(numbers, axis=0)
    assert motion.is_measured.all()
    assert np.abs(motion.transforms[:, :2, 3] - wanted[:, :2]).max() < 0.001
    assert motion.held_out_errors["shift"] < 0.1 * motion.held_out_errors["no motion"]


def test_roll_and_depth_are_found_where_they_are():
    time = np.linspace(0, 2 * np.pi, FRAMES)
    numbers = np.column_stack([0.02 * np.sin(time), 0 * time, 0.15 * np.cos(time), 0.06 * np.sin(2 * time)])
    motion = follow(numbers)
    assert motion.model == "similarity"
    wanted = to_transforms(numbers - np.median(numbers, axis=0))
    assert np.abs(motion.transforms - wanted).max() < 0.012


def test_clothes_without_corners_are_not_followed():
    def black(frame: int) -> np.ndarray:
        return np.zeros((64, 64, 3), np.uint8)

    def everything(frame: int) -> np.ndarray:
        return np.ones((64, 64), bool)

    assert track_torso(black, everything, 5, CAMERA, 3.0, quiet=True) is None


def test_transforms_shift_and_turn_about_the_line_of_sight():
    numbers = np.random.default_rng(0).normal(size=(10, 4))
    transforms = to_transforms(numbers)
    assert np.allclose(transforms[:, :3, :3], Rotation.from_euler("z", numbers[:, 3:]).as_matrix())
    assert np.array_equal(transforms[:, :3, 3], numbers[:, :3])
    assert np.array_equal(transforms[:, 3], np.tile([0, 0, 0, 1], (10, 1)))


def test_torso_only_adds_the_field_and_nothing_else(tmp_path):
    root = write_clip(tmp_path / "clip", num_frames=8, width=SIZE, height=SIZE)
    for index in range(8):
        cv2.imwrite(str(root / f"ori_imgs/{index}.png"), np.roll(coat(), index, axis=1))
        cv2.imwrite(str(root / f"parsing/{index}.png"), np.full((SIZE, SIZE, 3), (0, 0, 255), np.uint8))
        cv2.imwrite(str(root / f"mask/{index + 1}.png"), np.full((SIZE, SIZE), 255, np.uint8))
    with edited_json(root) as before:
        pass
    add_torso(root, quiet=True)
    with edited_json(root) as after:
        shifts = [entry.pop("torso_transform")[0][3] for entry in after["frames"]]
    assert after == before
    # The camera is 3 units away.
    units = 3.0 / before["fx"]
    assert np.diff(shifts) == pytest.approx(np.full(7, units), abs=0.05 * units)
    # The field was taken out again above.
    add_torso(root, quiet=True)
    with pytest.raises(UserError, match=r"has torso_transform already.*--overwrite"):
        add_torso(root, quiet=True)
    add_torso(root, overwrite=True, quiet=True)
    assert len(read_clip(root).frames) == 8
