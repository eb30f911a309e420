"""A scaffold and the Gaussians that start on it, from a fitted head and the training frames."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from parametric_head.zones import NECK, NECK_END, zones
from scene.avatar import typical_camera
from scene.dataset import FrameDataset
from scene.gaussian_model import Seated
from scene.scaffold import Places, Scaffold, ScaffoldMesh
from training.on_scaffold import body as body_maker
from training.on_scaffold.body import Body, find_body, seat_on_body
from training.on_scaffold.fitted_head import FittedHead
from training.on_scaffold.hair import hair_thickness
from training.on_scaffold.seats import Seating, is_of_head, limits_of, seat
from training.on_scaffold.texture import Texture, paint
from training.on_scaffold.views import choose_views, inside_share
from utils.progress import Progress
from utils.spherical_harmonics import rgb_to_dc

# A neck is not of this person where its points are outside of the matte in more frames than this.
_LEAST_SHARE = 0.5
_OPACITY_LOGIT = 2.5


class Start(NamedTuple):
    """What a run on a scaffold begins with."""

    scaffold: Scaffold
    xyz: Tensor  # [N, 3]
    seated: Seated
    # That fill the person, for outlines: [M, 3].
    volume: Tensor


def start_on_scaffold(
    fitted: FittedHead, frames: FrameDataset, count: int, seed: int, quiet: bool = False
) -> Start:
    """Build both. Raises ValueError where mattes are empty."""
    with Progress(4, "building the scaffold", quiet=quiet) as progress:
        views = choose_views(frames)
        progress.update()
        thickness = hair_thickness(fitted, views)
        lifted = thickness[:, None] * fitted.normals
        points = fitted.mesh.neutral + lifted
        progress.update()
        texture = paint(fitted, lifted, views)
        progress.update()
        zone = zones(fitted.head)
        # Only necks end where the matte does: with --only_head, or at the edge of the picture.
        is_neck = (zone == NECK) | (fitted.head.neutral[:, 1] < NECK_END)
        is_wanted = ~is_neck | ((inside_share(views, points) > _LEAST_SHARE) & (zone == NECK))
        typical = frames[frames.cameras.index(typical_camera(frames.cameras))]
        body = find_body(typical, points[is_wanted], points[is_wanted & is_neck])
        scaffold = _scaffold(fitted, limits_of(fitted, thickness), texture, body)
        seated, xyz = _seated(fitted, thickness, is_wanted, body, count, np.random.default_rng(seed))
        progress.update()
    volume = torch.from_numpy(np.concatenate([points[is_wanted], body.volume]))
    return Start(scaffold, xyz, seated, volume)


def _seated(
    fitted: FittedHead,
    thickness: np.ndarray,
    is_wanted: np.ndarray,
    body: Body,
    count: int,
    random: np.random.Generator,
) -> tuple[Seated, Tensor]:
    """Gaussians on head and body, and their means [N, 3]."""
    num_body = int(count * body.share)
    seated, xyz = _as_tensors(seat(fitted, thickness, is_wanted, count - num_body, random), 0)
    if not num_body:
        return seated, xyz
    more, places = _as_tensors(seat_on_body(body, num_body, random), len(fitted.head.triangles))
    joined = (torch.cat(pair) for pair in zip(seated[1:], more[1:], strict=True))
    both = Seated(Places(*map(torch.cat, zip(seated.places, more.places, strict=True))), *joined)
    return both, torch.cat([xyz, places])


def _scaffold(fitted: FittedHead, limits: np.ndarray, texture: Texture, body: Body) -> Scaffold:
    """The head's mesh, then the body's."""
    triangles = fitted.head.triangles
    num, more = len(fitted.mesh.neutral), len(body.triangles)
    still = np.zeros((len(fitted.shapes), len(body.vertices), 3), np.float32)
    values = ScaffoldMesh(
        neutral=np.concatenate([fitted.mesh.neutral, body.vertices]).astype(np.float32),
        shapes=np.concatenate([fitted.shapes, still], axis=1),
        triangles=np.concatenate([triangles, body.triangles + num]).astype(np.int32),
        limits=np.concatenate([limits, np.tile(body_maker.LIMITS, (more, 1))]).astype(np.float32),
        is_of_head=np.append(is_of_head(fitted), np.zeros(more, bool)),
        seen=np.append(texture.seen[triangles].mean(axis=1), np.ones(more)).astype(np.float32),
        color=rgb_to_dc(np.concatenate([texture.color, body.color]).astype(np.float32)),
        ball_ranges=fitted.ball_ranges,
        ball_centers=fitted.mesh.eye_centers.astype(np.float32),
        ball_turns=fitted.ball_turns.astype(np.float32),
    )
    return Scaffold(ScaffoldMesh(*map(torch.from_numpy, values)))


def _as_tensors(seating: Seating, first_triangle: int) -> tuple[Seated, Tensor]:
    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).float()

    seated = Seated(
        Places(torch.from_numpy(seating.triangle + first_triangle), tensor(seating.barycentric)),
        tensor(np.log(seating.scale)),
        tensor(seating.rotation),
        torch.full((len(seating.triangle),), _OPACITY_LOGIT),
    )
    return seated, tensor(seating.xyz)
