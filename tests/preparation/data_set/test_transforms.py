import json

import numpy as np

from preparation.data_set.transforms import FrameRows, camera_to_world, poses_from, write_transforms
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import Poses, project
from tests.preparation.synthetic_head import moving_poses


def test_matrices_look_down_minus_z_with_y_up():
    # The head, upright and 3 units before the camera: the camera stands on its z axis and looks back at it.
    poses = Poses(np.diag([1.0, -1, -1])[None], np.array([[0.0, 0, 3]]))
    assert np.allclose(camera_to_world(poses)[0], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]])


def test_poses_survive_being_matrices():
    poses = moving_poses(7)
    again = poses_from(camera_to_world(poses))
    assert np.allclose(again.rotations, poses.rotations)
    assert np.allclose(again.translations, poses.translations)


def test_pictures_are_where_the_file_says(tmp_path):
    path, poses, points = tmp_path / "transforms.json", moving_poses(3), np.eye(3) / 5
    camera = Camera(700.0, np.array([120.0, 140.0]))
    frames = FrameRows(np.array([4, 5, 9]), poses, np.zeros((3, 2)), seconds=np.array([0.16, 0.2, 0.36]))
    write_transforms(path, (256, 280), camera, frames, ("a", "b"), {"video": "me.mp4"})
    document = json.loads(path.read_text())
    assert (document["w"], document["h"], document["exp_names"]) == (256, 280, ["a", "b"])
    assert [entry["img_id"] for entry in document["frames"]] == [4, 5, 9]
    assert [entry["time"] for entry in document["frames"]] == [0.16, 0.2, 0.36]
    for entry, seen in zip(document["frames"], project(poses.apply(points), *camera), strict=True):
        x, y, z, _ = np.linalg.inv(entry["transform_matrix"]) @ np.column_stack([points, np.ones(3)]).T
        # OpenGL: y up, looking down -z; pixels count downwards.
        pixels = [document["cx"] - document["fx"] * x / z, document["cy"] + document["fy"] * y / z]
        assert np.allclose(np.transpose(pixels), seen, atol=1e-3)
