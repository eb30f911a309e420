"""Where a camera goes around a head, and where its two eyes are."""

import json
import math

import numpy as np
import pytest
import torch

from rendering.paths import EYE_DISTANCE, camera_path, eye_pair, orbit_path, read_path, spiral_path
from scene.cameras import Camera
from tests.synthetic import DISTANCE, camera_to_world
from utils.errors import UserError


@pytest.fixture
def camera():
    """It looks at the origin."""
    return Camera.from_camera_to_world(camera_to_world(0.1), 90, 80, 16, 12, 32, 24)


def looks_along(camera):
    return camera.world_to_camera[2, :3]


def pixel_of(camera, point):
    x, y, z = (camera.world_to_camera.double() @ torch.tensor([*point, 1.0], dtype=torch.float64))[
        :3
    ].tolist()
    return camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy


@pytest.mark.parametrize("num_frames", [1, 7, 36])
def test_an_orbit_is_closed_on_a_circle_and_looks_at_the_origin(camera, num_frames):
    path = orbit_path(camera, num_frames)
    assert len(path) == num_frames and torch.allclose(path[0].world_to_camera, camera.world_to_camera)
    yaws = []
    for seen in path:
        center = seen.center
        assert center.norm() == pytest.approx(DISTANCE, rel=1e-5) and abs(center[1]) < 1e-5
        assert torch.allclose(looks_along(seen), -center / center.norm(), atol=1e-5)
        yaws.append(math.atan2(center[0], center[2]))
    # Equal steps, the last one back to the first, all to one side.
    steps = np.diff([*yaws, yaws[0]]) % (2 * math.pi)
    assert num_frames == 1 or steps == pytest.approx(np.full(num_frames, 2 * math.pi / num_frames), abs=1e-4)


def test_a_camera_that_looks_beside_the_head_keeps_it_at_its_place(camera):
    beside = camera.posed(camera.world_to_camera + torch.eye(4)[:, 3:] @ torch.tensor([[0, 0, 0, 0.2]]))
    place = pixel_of(beside, (0, 0, 0))
    for path in (orbit_path(beside, 5), spiral_path(beside, 5, 30)):
        for seen in path:
            assert pixel_of(seen, (0, 0, 0)) == pytest.approx(place, abs=1e-3)


def test_a_spiral_swings_goes_up_and_down_and_changes_its_distance_by_a_tenth():
    camera = Camera.from_camera_to_world(camera_to_world(0), 90, 80, 16, 12, 32, 24)
    path = spiral_path(camera, 80, 30)
    centers = torch.stack([seen.center for seen in path])
    distances = centers.norm(dim=1)
    yaw = torch.rad2deg(torch.atan2(centers[:, 0], centers[:, 2]))
    pitch = torch.rad2deg(torch.asin(centers[:, 1] / distances))
    assert (yaw.min(), yaw.max()) == (pytest.approx(-30, abs=0.01), pytest.approx(30, abs=0.01))
    assert (pitch.min(), pitch.max()) == (pytest.approx(-10, abs=0.01), pytest.approx(10, abs=0.01))
    assert distances.min() == pytest.approx(0.9 * DISTANCE) and distances.max() == pytest.approx(
        1.1 * DISTANCE
    )
    steps = (centers - centers.roll(1, 0)).norm(dim=1)
    assert steps.max() < 0.3 and torch.allclose(centers[0], camera.center, atol=1e-5)
    for seen in path:
        assert torch.allclose(looks_along(seen), -seen.center / seen.center.norm(), atol=1e-5)


def test_a_file_of_matrices_is_a_path_with_the_avatars_lens(camera, tmp_path):
    matrices = [camera_to_world(yaw) for yaw in (0.0, 0.3, -0.2)]
    (tmp_path / "path.json").write_text(json.dumps([matrix.tolist() for matrix in matrices]))
    path = camera_path(str(tmp_path / "path.json"), camera, 100, 30)
    assert len(path) == 3
    for seen, matrix in zip(path, matrices, strict=True):
        assert seen.center.numpy() == pytest.approx(matrix[:3, 3], abs=1e-5)
        assert looks_along(seen).numpy() == pytest.approx(-matrix[:3, 2], abs=1e-5)
        assert (seen.fx, seen.fy, seen.cx, seen.cy, seen.width, seen.height) == (90, 80, 16, 12, 32, 24)


def test_a_file_may_bring_its_lens_and_frames_as_a_data_set_has_them(camera, tmp_path):
    lens = dict(fx=200, fy=210, cx=50, cy=30, w=100, h=80)
    frames = [{"transform_matrix": camera_to_world(0.2).tolist()}, camera_to_world(0).tolist()]
    (tmp_path / "path.json").write_text(json.dumps({**lens, "frames": frames}))
    first, second = read_path(tmp_path / "path.json", camera, lambda width, height: (width // 2, height // 2))
    assert (first.fx, first.fy, first.cx, first.cy, first.width, first.height) == (100, 105, 25, 15, 50, 40)
    assert second.center.numpy() == pytest.approx([0, 0, DISTANCE], abs=1e-5)


GOOD = camera_to_world(0).tolist()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "expected a list of camera-to-world matrices, or frames with them"),
        ({"frames": 3}, "expected a list of camera-to-world matrices, or frames with them"),
        ([GOOD, [1, 2]], "frame 1: matrix: expected 4 x 4 numbers, found shape [2]"),
        ([GOOD, np.diag([2, 1, 1, 1]).tolist()], "frame 1: matrix: rotation is not orthonormal"),
        ([np.diag([-1, 1, 1, 1]).tolist()], "frame 0: matrix: rotation has determinant -1"),
        ([{"matrix": GOOD}], "frame 0: transform_matrix: missing; expected 4 x 4 numbers"),
        ({"frames": [GOOD], "fx": 100}, "fy: missing; expected a positive number of pixels"),
    ],
)
def test_a_file_that_is_no_path_is_one_line(camera, tmp_path, document, message):
    file = tmp_path / "path.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(UserError) as error:
        camera_path(str(file), camera, 100, 30)
    assert str(file) in str(error.value) and message in str(error.value) and "\n" not in str(error.value)


def test_eyes_are_their_distance_apart_and_agree_on_the_head(camera):
    left, right = eye_pair(camera)
    apart = right.center - left.center
    assert apart.norm() == pytest.approx(EYE_DISTANCE, rel=1e-5) == pytest.approx(0.18, rel=1e-5)
    assert torch.allclose(apart / apart.norm(), camera.world_to_camera[0, :3], atol=1e-4)
    assert torch.allclose((left.center + right.center) / 2, camera.center, atol=1e-5)
    for eye in (left, right):
        assert pixel_of(eye, (0, 0, 0)) == pytest.approx(pixel_of(camera, (0, 0, 0)), abs=1e-4)
    # What is before the head lies farther to the right for the left eye: it comes out of the screen.
    nearer = camera.center * 0.2
    assert pixel_of(left, nearer.tolist())[0] > pixel_of(right, nearer.tolist())[0] + 0.1


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["swing", "orbit", "spiral"])
def test_paths_of_a_camera_on_a_gpu_stay_there(camera, name):
    here, there = (camera_path(name, camera.to(device), 5, 30.0) for device in ("cpu", "cuda"))
    for one, other in zip(here, there, strict=True):
        assert other.world_to_camera.is_cuda
        assert torch.equal(one.world_to_camera, other.world_to_camera.cpu())
