"""What a run gives to other programs: cameras.json, input.ply, and the avatar's neutral face as a splat file.

The family's viewers expect a world whose y points down. Ours points up, so all three are turned by half a
turn about x: (x, y, z) becomes (x, -y, -z).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from diff_gaussian_rasterization import Splats
from gaussian_renderer import render
from scene.cameras import Camera
from scene.gaussian_model import GaussianModel
from scene.head_model import GaussianHead
from scene.views import Drive
from utils.json_files import write_json
from utils.ply import save_ply, save_points
from utils.rotations import quaternion_multiply
from utils.sh_baking import bake_sh, baking_loss
from utils.spherical_harmonics import degree_of, sh_bases

# Spread over the clip: enough directions, and memory for 16 x 16 systems of all Gaussians.
BAKED_CAMERAS = 24
# Half a turn about x, as factors of the coordinates.
HALF_TURN = torch.tensor([1.0, -1.0, -1.0])


def save_cameras(path: Path, cameras: Sequence[Camera], names: Sequence[str]) -> None:
    """The family's cameras.json: position and rotation of camera-to-world (OpenCV axes), size, focal lengths
    in pixels."""
    poses = torch.stack([camera.world_to_camera for camera in cameras]).double().cpu()  # [F, 4, 4]
    turned = torch.linalg.inv(poses)[:, :3] * HALF_TURN.double()[:, None]  # [F, 3, 4]
    parts = zip(cameras, names, turned[..., 3].tolist(), turned[..., :3].tolist(), strict=True)
    entries = [
        {
            "id": i,
            "img_name": name,
            "width": camera.width,
            "height": camera.height,
            "position": position,
            "rotation": rotation,
            "fx": camera.fx,
            "fy": camera.fy,
            "cx": camera.cx,
            "cy": camera.cy,
        }
        for i, (camera, name, position, rotation) in enumerate(parts)
    ]
    # In one line: Python indents 20,000 cameras in 5 s, which nobody reads.
    write_json(path, entries, indent=None)


def save_initial_points(path: Path, gaussians: GaussianModel) -> None:
    """The family's input.ply: where the Gaussians start."""
    save_points(path, gaussians.xyz * HALF_TURN.to(gaussians.xyz))


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
    save_splats(path, splats._replace(sh=sh))
    return baking_loss(decoded, sh, chosen, lambda camera, drawn: render(camera, drawn, background).image)


def save_splats(path: Path, splats: Splats) -> None:
    """Write splats with SH as the family's PLY, y down."""
    turned = half_turn(splats)
    save_ply(
        path,
        means=turned.means,
        sh_dc=turned.sh[:, 0],
        sh_rest=turned.sh[:, 1:],
        opacity_logits=torch.logit(turned.opacities, eps=1e-6),
        log_scales=turned.scales.log(),
        rotations=turned.rotations,
    )


def half_turn(splats: Splats) -> Splats:
    """The splats turned by 180 degrees about x.

    Every SH basis is even or odd in y and z, so that it keeps its place and at most changes its sign.
    """
    direction = torch.nn.functional.normalize(torch.tensor([[0.3, 0.5, 0.7]], dtype=torch.float64), dim=1)
    degree = degree_of(splats.sh.shape[1])
    signs = (sh_bases(direction, degree) * sh_bases(direction * HALF_TURN.double(), degree)).sign()  # [1, S]
    quarter = torch.tensor([0.0, 1.0, 0.0, 0.0])
    return splats._replace(
        means=splats.means * HALF_TURN.to(splats.means),
        rotations=quaternion_multiply(quarter.to(splats.rotations), splats.rotations),
        sh=splats.sh * signs.to(splats.sh)[:, :, None],
    )
