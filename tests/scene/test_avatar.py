import numpy as np
import pytest
import torch

from scene.avatar import SAVED_AS_HALF, Avatar, load_avatar, neutral_expression, save_avatar, typical_camera
from scene.cameras import Camera
from scene.views import Drive
from tests.scene.heads import EXPRESSION_SIZE, make_head
from utils.errors import UserError

NAMES = ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft", "browInnerUp", "cheekPuff")


def make_avatar(camera, names=NAMES) -> Avatar:
    return Avatar(
        make_head(5), torch.full((EXPRESSION_SIZE,), 0.25), names, camera, torch.ones(3), iteration=12
    )


def test_loaded_avatar_gives_the_same_splats(tmp_path, camera):
    avatar = make_avatar(camera)
    with torch.no_grad():
        for name in SAVED_AS_HALF:
            value = avatar.head.get_parameter(name)
            value.copy_(value.half())
    save_avatar(avatar, tmp_path / "model" / "iteration_12.safetensors")
    loaded = load_avatar(tmp_path)
    assert loaded.iteration == 12 and loaded.expression_names == NAMES
    assert torch.equal(loaded.camera.world_to_camera, camera.world_to_camera)
    expression = avatar.expression(jawOpen=0.7)
    for a, b in zip(
        avatar.head(camera, Drive(expression)),
        loaded.head(loaded.camera, Drive(loaded.expression(jawOpen=0.7))),
        strict=True,
    ):
        assert a is b is None or torch.equal(a, b)


def test_expression_sets_named_coefficients_on_the_neutral_face(camera):
    avatar = make_avatar(camera)
    assert avatar.expression(eyeBlinkLeft=1.0).tolist() == [0.25, 1.0, 0.25, 0.25, 0.25]
    assert avatar.neutral_expression.tolist() == [0.25] * 5
    with pytest.raises(UserError, match="jawopen"):
        avatar.expression(jawopen=1.0)
    with pytest.raises(UserError, match="no names"):
        make_avatar(camera, names=None).expression(jawOpen=1.0)


def test_folder_without_a_model_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="model"):
        load_avatar(tmp_path)


def test_checkpoint_to_resume_is_refused_as_a_model(tmp_path, camera):
    from utils.checkpoint import save_checkpoint

    save_checkpoint(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"iteration": 3})
    with pytest.raises(UserError, match="not a model for use"):
        load_avatar(tmp_path / "x.safetensors")


def test_neutral_is_zero_for_arkit_and_the_median_frame_otherwise():
    expressions = np.array([[0.0, 5.0], [1.0, 1.0], [9.0, 0.9]], np.float32)
    assert neutral_expression(expressions, None).tolist() == [1.0, 1.0]
    arkit = neutral_expression(np.ones((4, 3)), ["jawOpen", "mouthSmileLeft", "eyeBlinkLeft"])
    assert arkit.tolist() == [0.0, 0.0, 0.0]


def test_typical_camera_is_one_of_the_cameras():
    cameras = []
    for x in (-1.0, 0.1, 0.2, 0.3, 5.0):
        camera_to_world = np.eye(4)
        camera_to_world[:3, 3] = x, 0, 3
        cameras.append(Camera.from_camera_to_world(camera_to_world, 10.0, 10.0, 4.0, 4.0, 8, 8))
    assert typical_camera(cameras) is cameras[2]
