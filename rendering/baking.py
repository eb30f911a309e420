"""A head baked into its light form (scene/light_head.py): seen in many expressions, fitted, reduced, rounded.

1. `look` evaluates the full head in the expressions and poses of `probes`, and sees which splats ever show.
2. `fit` finds, for every splat, what is linear in the features of both (ridge regression).
3. `reduced` turns that into components shared by all splats, the strongest first (principal components).
4. `rounded` keeps of them what is more than half a step; `bake` finds the finest step that fits a size.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from diff_gaussian_rasterization import Splats
from gaussian_renderer import render
from rendering.probes import probes
from scene.avatar import Avatar
from scene.blendshapes import OFFSET_SIZES
from scene.cameras import Camera, swing_path
from scene.head_model import POSE_CODE_SIZE, GaussianHead
from scene.light_file import pack_light_head, packed_size, unpack_light_head
from scene.light_head import Basis, LightHead, Neutral, Torso, features
from scene.torso import leave_torso
from scene.views import Drive
from utils.errors import UserError
from utils.progress import Watch, track
from utils.sampling import evenly_spread

# Of the clip's motion.
MOST_FITTED = 64
RIDGE = 1e-3
# Splats are looked for in pictures of this width.
WIDTH_OF_LOOKS = 256
# Pixels, of a picture of that width: what never covers more is left out.
LEAST_SHOWN = 0.05
# Steps of rotation (quaternion), log-scale, opacity logit and colour that show about as much as one pixel's.
STEPS = {"rotation": 0.1, "log_scale": 0.1, "opacity_logit": 0.3, "color": 0.1}
FINEST, COARSEST = 1e-3, 10.0
NUM_HALVINGS = 8
# For the header of a file: names, numbers and shapes.
HEADER_BYTES = 8_000


class Looks(NamedTuple):
    """What the full head was in S drives."""

    neutral: Splats
    # As in OFFSET_SIZES, before following the torso; quaternions on the side of the neutral ones.
    attributes: Tensor  # [S, N, 14]
    shown: Tensor  # [N] pixels, the most that a splat ever covers


class Factors(NamedTuple):
    """K components of one attribute, before rounding."""

    weights: Tensor  # [K, 2E + 13]
    bases: Tensor  # [K, N, C]; a component's weight is about 1


def check_bakeable(avatar: Avatar) -> None:
    """Raise UserError where an avatar has no light form."""
    if isinstance(avatar.head, LightHead):
        raise UserError("this avatar is in its light form already")
    if avatar.head.scaffold is None:
        raise UserError("the avatar has no head model under it (--scaffold): only those have a light form")
    if avatar.motion is None:
        raise UserError("the avatar brings no motion of its clip; train it again with this version")


def fitted_frames(motion: Tensor) -> Tensor:
    """Of a motion [F, E] every other frame, not too many: those between are for a score."""
    even = motion[::2]
    return even[evenly_spread(len(even), MOST_FITTED)]


def ranges_of(avatar: Avatar) -> Tensor:
    """Least and most of each coefficient in the clip: [2, E]."""
    signal_range = avatar.head.known_signals[:, : len(avatar.neutral_expression)]
    return signal_range / avatar.head.architecture.expression_gain


def look(
    avatar: Avatar,
    drives: list[Drive],
    torso: Torso,
    max_yaw: float,
    quiet: bool = True,
    watch: Watch | None = None,
) -> Looks:
    """Evaluate the full head in each drive, seen from where its pose was filmed, else from another place of a
    swing."""
    camera = avatar.camera
    small = camera.scaled(WIDTH_OF_LOOKS, max(1, round(WIDTH_OF_LOOKS * camera.height / camera.width)))
    # The steps of a golden ratio: neighbours in the list are far apart on the swing.
    path = swing_path(small, len(drives), max_yaw)
    order = [round(i * 0.618034 * len(path)) % len(path) for i in range(len(path))]
    seen, shown, neutral = [], None, None
    tracked = track(drives, len(drives), "looking", quiet=quiet, watch=watch)
    for index, drive in enumerate(tracked):
        with torch.no_grad():
            splats = avatar.head(camera, drive)
        neutral, viewer, before = neutral or splats, path[order[index]], splats
        if drive.head_pose is not None:
            viewer = replace(small, world_to_camera=_square(drive.head_pose))
            back = leave_torso(splats.means, splats.rotations, torso.membership[:, None], torso.motion(drive))
            before = splats._replace(means=back[0], rotations=back[1])
        seen.append(attributes_of(before, neutral.rotations))
        covered = _covered(splats, viewer, avatar.background)
        shown = covered if shown is None else torch.maximum(shown, covered)
    return Looks(neutral, torch.stack(seen), shown)


def attributes_of(splats: Splats, side: Tensor) -> Tensor:
    """What bases are added to, as in OFFSET_SIZES: [N, 14]; quaternions on the side of those of `side`."""
    sign = torch.where((splats.rotations * side).sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    opacity_logit = torch.logit(splats.opacities, eps=1e-6)[:, None]
    parts = (splats.means, sign * splats.rotations, splats.scales.log(), opacity_logit, splats.sh[:, 0])
    return torch.cat(parts, dim=1)


def _square(pose: Tensor) -> Tensor:  # [3, 4] -> [4, 4]
    return torch.cat([pose, pose.new_tensor([[0.0, 0.0, 0.0, 1.0]])])


def _covered(splats: Splats, camera: Camera, background: Tensor) -> Tensor:  # [N]
    """How many pixels each splat gives its colour to: the gradient of the picture's sum."""
    with torch.enable_grad():
        colors = torch.full_like(splats.means, 0.5).requires_grad_()
        image = render(camera, splats._replace(colors=colors, sh=None), background).image
        return torch.autograd.grad(image.sum(), colors)[0].mean(dim=1)


def fit(signals: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """Ridge regression: signals [S, D], weights [S], offsets [S, N, C] -> [D, N, C]."""
    root = weights.double().sqrt()[:, None]
    left = root * signals.double()
    normal = left.T @ left + RIDGE * torch.eye(left.shape[1], dtype=left.dtype, device=left.device)
    solver = torch.linalg.solve(normal, left.T * root.T)  # [D, S]
    return torch.tensordot(solver.to(offsets.dtype), offsets, 1)


def reduced(signals: Tensor, weights: Tensor, coefficients: Tensor) -> Factors:
    """The linear map [D, N, C] as components whose weights have a mean square of 1 over the signals."""
    share = (weights / weights.sum()).double()
    covariance = signals.double().T @ (share[:, None] * signals.double())
    spread, axes = torch.linalg.eigh(covariance)
    kept = spread > 1e-10 * spread.amax().clamp_min(1e-12)
    root = axes[:, kept] * spread[kept].sqrt()  # [D, R]
    whitener = axes[:, kept] / spread[kept].sqrt()
    effects = torch.tensordot(root.T.to(coefficients.dtype), coefficients, 1)  # [R, N, C]
    flat = effects.flatten(1).double()
    turn = torch.linalg.eigh(flat @ flat.T)[1].flip(1)  # [R, K]
    return Factors(
        (whitener @ turn).T.to(coefficients.dtype),
        torch.tensordot(turn.T.to(coefficients.dtype), effects, 1),
    )


def rounded(factors: Factors, step: float) -> Basis:
    """Bytes of at least a step each; components that do nothing are left out."""
    steps = (factors.bases.abs().amax(dim=(1, 2)) / 127).clamp_min(step)  # [K]
    values = (factors.bases / steps[:, None, None]).round().to(torch.int8)
    used = (values != 0).flatten(1).any(dim=1)
    return Basis(factors.weights[used], steps[used], values[used])


class Baked(NamedTuple):
    """A light head, and what was left out for it."""

    head: LightHead
    num_hidden: int
    step: float  # pixels
    num_components: int


def torso_of(head: GaussianHead) -> Torso:
    """How a head's Gaussians follow the torso; where it learned none, not at all."""
    sizes, places = head.architecture, head.gaussians.places
    still = Torso.still(len(head.gaussians))
    torso = Torso(*(value.to(head.mean_pose) for value in still))._replace(mean_pose=head.mean_pose)
    if sizes.torso_prediction:
        torso = torso._replace(map=head.torso_map, known=head.known_poses)
    if sizes.torso_membership:
        torso = torso._replace(membership=head.torso_membership(head.scaffold.seats(places))[:, 0])
    if sizes.pose_conditioning:
        first = sizes.expression_size
        torso = torso._replace(codes=head.known_signals[:, first : first + POSE_CODE_SIZE])
    return torso


@torch.no_grad()
def bake(
    avatar: Avatar,
    motion: Tensor,
    max_bytes: int,
    max_yaw: float,
    quiet: bool = True,
    watch: Watch | None = None,
) -> Baked:
    """The light form of an avatar's head, fitted to frames of its clip [F, E] above all, in `max_bytes`.

    `watch` hears after every part of the work how far it is. Raises UserError where that is too little even
    for the coarsest steps.
    """
    ranges, neutral = ranges_of(avatar), avatar.neutral_expression
    torso = torso_of(avatar.head)
    chosen = probes(neutral, motion, ranges, torso)
    looks = look(avatar, chosen.drives, torso, max_yaw, quiet, watch)
    shown = looks.shown > LEAST_SHOWN
    signals = torch.stack([features(drive, neutral, ranges, torso) for drive in chosen.drives])
    at_rest = looks.attributes[0, shown]
    offsets = (looks.attributes[:, shown] - at_rest).split(list(OFFSET_SIZES.values()), dim=2)
    factors = {
        name: reduced(signals, chosen.weights, fit(signals, chosen.weights, offset))
        for name, offset in zip(OFFSET_SIZES, offsets, strict=True)
    }
    xyz, rotation, log_scale, opacity_logit, _ = at_rest.split(list(OFFSET_SIZES.values()), dim=1)
    still = Neutral(xyz, rotation, log_scale, opacity_logit[:, 0], looks.neutral.sh[shown])
    torso = torso._replace(membership=torso.membership[shown])
    pixel = float(avatar.camera.center.norm()) / avatar.camera.fx

    def with_step(step: float) -> LightHead:
        steps = {"xyz": step * pixel, **{name: step * value for name, value in STEPS.items()}}
        bases = {name: rounded(factors[name], steps[name]) for name in OFFSET_SIZES}
        return LightHead(still, bases, neutral, ranges, torso)

    step = _finest_step(lambda step: packed_size(with_step(step)), max_bytes - HEADER_BYTES, quiet, watch)
    head = unpack_light_head({k: v.cpu() for k, v in pack_light_head(with_step(step)).items()})
    num_components = sum(len(basis.steps) for basis in head.bases.values())
    return Baked(head.to(neutral.device), int((~shown).sum()), step, num_components)


def _finest_step(size_of: Callable[[float], int], max_bytes: int, quiet: bool, watch: Watch | None) -> float:
    """The least step whose size is at most `max_bytes`, within 4 %."""
    low, high = FINEST, COARSEST
    if size_of(low) <= max_bytes:
        return low
    if (least := size_of(high)) > max_bytes:
        raise UserError(f"--max_megabytes: this avatar needs at least {(least + HEADER_BYTES) / 1e6:.2f}")
    for _ in track(range(NUM_HALVINGS), NUM_HALVINGS, "sizing", quiet=quiet, watch=watch):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if size_of(middle) <= max_bytes else (middle, high)
    return high
