"""Checkpoints of the published code: formulas one Gaussian at a time in float64, files, refusals."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from gaussian_renderer import render
from scene import load_avatar
from scene.avatar import Avatar, save_avatar
from scene.cameras import Camera
from scene.published_checkpoint import iterations_in, read_arguments, read_head, read_poses
from scene.views import Drive
from tests.scene.published import slow_gaussian, write_checkpoint
from utils.errors import UserError

POSE = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0.1], [0, 0, -1, 2], [0, 0, 0, 1]])
CAMERA = Camera(POSE, 60.0, 60.0, 20.0, 12.0, 32, 24)


@pytest.mark.parametrize("num", [40, 9])
def test_every_gaussian_is_as_the_specification_says(tmp_path, num):
    state = write_checkpoint(tmp_path, num=num)
    head = read_head(tmp_path, 4_000)
    expression = torch.tensor([0.3, -0.7, 1.1])
    splats = head(CAMERA, Drive(expression))
    assert splats.scales is None and splats.rotations is None and head.num_splats == num
    for n in range(num):
        expected = slow_gaussian(state, n, expression, CAMERA.center)
        for name, value in expected.items():
            np.testing.assert_allclose(
                getattr(splats, name)[n].numpy(), value, rtol=1e-4, atol=2e-5, err_msg=f"{name} of {n}"
            )


def test_without_deformation_an_expression_changes_nothing(tmp_path):
    write_checkpoint(tmp_path, iteration=3_000)
    head = read_head(tmp_path, 3_000)
    assert not head.deforms
    one, other = (head(CAMERA, Drive(torch.full((3,), value))) for value in (0.0, 5.0))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True) if a is not None)
    torch.testing.assert_close(one.means, head.xyz)


def test_views_are_stacked_and_saved_avatars_draw_the_same(tmp_path):
    write_checkpoint(tmp_path)
    head = read_head(tmp_path, 4_000)
    drives = [Drive(torch.randn(3)) for _ in range(2)]
    other = CAMERA.posed(POSE + 0.01)
    both = head.views([CAMERA, other], drives)
    torch.testing.assert_close(both.sh[1], head(other, drives[1]).sh)
    avatar = Avatar(head, torch.zeros(3), ("a", "b", "c"), head.lens(CAMERA), torch.ones(3), 4_000)
    save_avatar(avatar, tmp_path / "avatar.safetensors")
    loaded = load_avatar(tmp_path / "avatar.safetensors")
    pictures = [
        render(a.camera, a.head(a.camera, a.expression(b=1.0)), a.background).image for a in (avatar, loaded)
    ]
    assert torch.equal(*pictures) and (pictures[0] < 0.99).any()


def test_the_principal_point_is_the_centre(tmp_path):
    write_checkpoint(tmp_path)
    camera = read_head(tmp_path, 4_000).lens(CAMERA)
    assert (camera.cx, camera.cy) == (16.0, 12.0)


class Malicious:
    """Runs a command where it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def malicious(path, tmp_path):
    path.write_bytes(pickle.dumps({"tau": Malicious(tmp_path / "run")}))


def truncated(path, tmp_path):
    path.write_bytes(path.read_bytes()[:-200])


def of_other_rows(path, tmp_path):
    torch.save({"tau": torch.zeros(39, 4, 4)}, path)


def not_finite(path, tmp_path):
    tau = torch.ones(40, 4, 4)
    tau[3, 1, 2] = float("nan")
    torch.save({"tau": tau}, path)


def packed(path, tmp_path):
    """A bomb: zeros, packed."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, bytes(50 * len(data)))


def missing(path, tmp_path):
    path.unlink()


def of_integers(path, tmp_path):
    torch.save({"tau": torch.ones(40, 4, 4, dtype=torch.long)}, path)


def complex_numbers(path, tmp_path):
    torch.save({"tau": torch.ones(40, 4, 4, dtype=torch.complex64)}, path)


DAMAGES = (malicious, truncated, of_other_rows, not_finite, packed, missing, of_integers, complex_numbers)


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_files_are_refused_and_nothing_is_run(tmp_path, damage):
    write_checkpoint(tmp_path)
    damage(tmp_path / "tilted" / "iteration_4000" / "tilted.pth", tmp_path)
    with pytest.raises(UserError):
        read_head(tmp_path, 4_000)
    assert not (tmp_path / "run").exists()


def test_other_networks_are_refused_by_name(tmp_path):
    write_checkpoint(tmp_path)
    path = tmp_path / "deform" / "iteration_4000" / "deform.pth"
    torch.save(torch.load(path, weights_only=True) | {"linear.5.weight": torch.zeros(256, 256)}, path)
    with pytest.raises(UserError, match=r"field\.5\.weight"):
        read_head(tmp_path, 4_000)


def test_iterations_and_arguments_are_read_without_running_them(tmp_path):
    for iteration in (7_000, 10_000):
        write_checkpoint(tmp_path, iteration=iteration)
    assert iterations_in(tmp_path) == [7_000, 10_000]
    attack = f"__import__('os').mkdir({str(tmp_path / 'run')!r})"
    text = f"Namespace(sh_degree=3, source_path='/data/id1', resolution=2, eval=True, x={attack})"
    (tmp_path / "cfg_args").write_text(text)
    found = read_arguments(tmp_path)
    assert (str(found.source_path), found.resolution, found.white_background) == ("/data/id1", 2, True)
    assert not (tmp_path / "run").exists()
    (tmp_path / "cfg_args").write_text("Namespace(")
    assert read_arguments(tmp_path).source_path is None
    with pytest.raises(UserError, match="no point_cloud"):
        iterations_in(tmp_path / "nowhere")


def test_an_iteration_that_was_not_saved_whole_does_not_count(tmp_path):
    for iteration in (4_000, 7_000):
        write_checkpoint(tmp_path, iteration=iteration)
    (tmp_path / "trip" / "iteration_7000" / "trip.pth").unlink()
    assert iterations_in(tmp_path) == [4_000]
    (tmp_path / "tilted" / "iteration_4000" / "tilted.pth").unlink()
    with pytest.raises(UserError, match="lacks trip/iteration_7000"):
        iterations_in(tmp_path)


def test_a_camera_that_is_not_finite_is_refused(tmp_path):
    entry = dict(img_name="3", position=[0.0, 0.0, float("nan")], rotation=torch.eye(3).tolist())
    (tmp_path / "cameras.json").write_text(json.dumps([entry]))
    with pytest.raises(UserError, match="frame 3: not finite"):
        read_poses(tmp_path)
