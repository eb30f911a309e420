"""Files for other programs."""

import json

import numpy as np
import pytest
import torch

from gaussian_renderer import render
from rendering.export import save_cameras, save_point_cloud
from scene.cameras import Camera, swing_path
from scene.views import Drive
from tests.scene.heads import EXPRESSION_SIZE, make_head
from tests.scene.test_head_model import activate_everything
from utils.ply import load_ply

POSE = torch.diag(torch.tensor([1.0, -1, -1, 1]))
POSE[2, 3] = 3.0
CAMERA = Camera(POSE, 150.0, 140.0, 30.0, 25.0, 64, 48)


def test_cameras_are_the_familys_camera_to_world_with_y_down(tmp_path):
    cameras = swing_path(CAMERA, 4, 20)
    save_cameras(tmp_path / "cameras.json", cameras, ["a", "b", "c", "d"])
    entries = json.loads((tmp_path / "cameras.json").read_text())
    assert [entry["img_name"] for entry in entries] == ["a", "b", "c", "d"]
    for entry, camera in zip(entries, cameras, strict=True):
        point = np.array([0.1, -0.2, 0.3])
        seen = np.array(entry["rotation"]).T @ (point * [1, -1, -1] - entry["position"])
        pose = camera.world_to_camera.double().numpy()
        np.testing.assert_allclose(seen, pose[:3, :3] @ point + pose[:3, 3], atol=1e-5)
        assert (entry["fx"], entry["fy"], entry["cx"], entry["cy"]) == (150, 140, 30, 25)
        assert (entry["width"], entry["height"]) == (64, 48)


def test_a_splat_file_with_y_down_draws_the_expression_as_well_as_it_says(tmp_path):
    head = activate_everything(make_head(60, sh_degree=2)).requires_grad_(False)
    head.gaussians.opacity_offset.add_(2.0)
    expression, background = 0.5 * torch.rand(EXPRESSION_SIZE), torch.ones(3)
    cameras = swing_path(CAMERA, 8, 15)
    stated = save_point_cloud(tmp_path / "splats.ply", head, expression, cameras, background)
    stored = load_ply(tmp_path / "splats.ply")
    splats = head(CAMERA, Drive(expression))
    half_turn = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    drawn = [
        render(
            camera.posed(camera.world_to_camera @ half_turn),
            splats._replace(
                means=stored.means,
                sh=torch.cat([stored.sh_dc[:, None], stored.sh_rest], dim=1),
                opacities=stored.opacity_logits.sigmoid(),
                scales=stored.log_scales.exp(),
                rotations=stored.rotations,
            ),
            background,
        ).image
        for camera in cameras
    ]
    truth = [render(camera, head(camera, Drive(expression)), background).image for camera in cameras]
    errors = [(a.clamp(0, 1) - b.clamp(0, 1)).square().mean() for a, b in zip(drawn, truth)]
    error = torch.stack(errors).mean()
    assert stated == pytest.approx(float(-10 * error.log10()), abs=0.05) and stated > 25
