"""What a run gives to other programs: cameras.json, input.ply, and the avatar's neutral face as a splat
file."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gaussian_renderer import render
from scene.cameras import Camera
from scene.gaussian_model import GaussianModel
from scene.head_model import GaussianHead
from scene.views import Drive
from utils.ply import save_ply, save_points
from utils.sh_baking import bake_sh, baking_loss

# Spread over the clip: enough directions, and memory for 16 x 16 systems of all Gaussians.
BAKED_CAMERAS = 24


def save_cameras(path: Path, cameras: Sequence[Camera], names: Sequence[str]) -> None:
    """The family's cameras.json: position and rotation of camera-to-world (OpenCV axes), size, focal lengths
    in pixels."""
    entries = []
    for i, (camera, name) in enumerate(zip(cameras, names, strict=True)):
        camera_to_world = torch.linalg.inv(camera.world_to_camera.double().cpu())
        entries.append(
            {
                "id": i,
                "img_name": name,
                "width": camera.width,
                "height": camera.height,
                "position": camera_to_world[:3, 3].tolist(),
                "rotation": camera_to_world[:3, :3].tolist(),
                "fx": camera.fx,
                "fy": camera.fy,
                "cx": camera.cx,
                "cy": camera.cy,
            }
        )
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def save_initial_points(path: Path, gaussians: GaussianModel) -> None:
    """The family's input.ply: where the Gaussians start."""
    save_points(path, gaussians.xyz)


@torch.no_grad()
def save_point_cloud(
    path: Path, head: GaussianHead, expression: Tensor, cameras: Sequence[Camera], background: Tensor
) -> float:
    """Write the family's PLY of one expression [E] and return the PSNR (dB) of its renders against the
    avatar's own.

    A splat file holds one set of SH coefficients per Gaussian, the avatar decodes them anew for every view:
    they are fitted over the given cameras.
    """
    chosen = [
        cameras[i]
        for i in torch.linspace(0, len(cameras) - 1, min(BAKED_CAMERAS, len(cameras))).long().tolist()
    ]
    decoded = [head(camera, Drive(expression)) for camera in chosen]
    splats = decoded[0]
    sh = bake_sh(decoded, chosen)  # [N, S, 3]
    save_ply(
        path,
        means=splats.means,
        sh_dc=sh[:, 0],
        sh_rest=sh[:, 1:],
        opacity_logits=torch.logit(splats.opacities, eps=1e-6),
        log_scales=splats.scales.log(),
        rotations=splats.rotations,
    )
    return baking_loss(decoded, sh, chosen, lambda camera, drawn: render(camera, drawn, background).image)
