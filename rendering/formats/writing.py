"""What export.py writes of splats at rest: one file of one expression, or numbered ones of the clip."""

import sys
from pathlib import Path

import torch
from torch import Tensor

from arguments import ExportParams
from diff_gaussian_rasterization import Splats
from rendering.driving.reenactment import parse_expression
from rendering.driving.retarget import clipped_to_unit
from rendering.export import save_splats
from rendering.formats.gltf import gltf_bytes
from rendering.formats.spz import spz_bytes
from rendering.formats.still import still_splats
from scene.avatar import Avatar, are_arkit
from utils.errors import UserError
from utils.files import write_bytes
from utils.progress import track


def write_still(params: ExportParams, avatar: Avatar, path: Path) -> str:
    """Write splats as --format says; return what was written. Raises UserError where the avatar lacks what is
    asked for."""
    if not params.frames:
        expression, note = chosen_expression(params, avatar)
        if note and not params.quiet:
            print(note, file=sys.stderr)
        size = _write(params.kind, path, still_splats(avatar, expression))
        return f"{path}: {size:,} splats, {path.stat().st_size / 1e6:.2f} MB"
    motion = played_frames(params, avatar)
    places = track(range(len(motion)), len(motion), "writing", quiet=params.quiet)
    paths = [path.with_name(f"{path.stem}_{place:05d}{path.suffix}") for place in range(len(motion))]
    for place in places:
        _write(params.kind, paths[place], still_splats(avatar, motion[place]))
    total = sum(each.stat().st_size for each in paths)
    return f"{paths[0]} to {paths[-1].name}: {len(paths)} frames, {total / 1e6:.2f} MB"


def chosen_expression(params: ExportParams, avatar: Avatar) -> tuple[Tensor, str]:
    """The coefficients [E] of --expression, the neutral face without it; a line where ARKit's were clipped.

    They are clipped as render.py --expression clips them.
    """
    given = {} if params.expression is None else parse_expression(params.expression)
    expression = avatar.expression(**given)
    if not given or not are_arkit(avatar.expression_names):
        return expression, ""
    values, count = clipped_to_unit(expression.numpy(force=True))
    note = f"--expression: {count} of {len(given)} coefficients clipped to [0, 1]" if count else ""
    return torch.from_numpy(values).to(expression), note


def played_frames(params: ExportParams, avatar: Avatar) -> Tensor:  # [F, E]
    """The first --frames frames of the clip's motion that the avatar brings."""
    found = 0 if avatar.motion is None else len(avatar.motion)
    if params.frames > found:
        raise UserError(f"--frames {params.frames}: the avatar brings {found} frames of its clip")
    return avatar.motion[: params.frames]


def _write(kind: str, path: Path, splats: Splats) -> int:
    splats = Splats(*(value if value is None else value.detach().cpu() for value in splats))
    if not all(torch.isfinite(value).all() for value in splats if value is not None):
        raise UserError(f"{path}: the avatar's splats are not finite in this expression")
    if kind == "ply":
        save_splats(path, splats)
    else:
        write_bytes(path, spz_bytes(splats) if kind == "spz" else gltf_bytes(splats))
    return len(splats.means)
