"""Bake a trained avatar into its light form: splats and linear bases, without networks and mesh.

    python export.py -m output/id1                    writes output/id1/light/iteration_N.safetensors
    python export.py -m avatar.safetensors            writes avatar_light.safetensors
    python export.py -m output/id1 --web              writes a page that plays it: light/iteration_N.html
    python export.py -m output/id1 --format ply       writes its splats; also spz, gltf, lam

`load_avatar` reads the file, `python render.py -m output/id1 --light` draws it. What it loses against the
full avatar, which stays the reference, is printed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from arguments import CONFIG_NAME, ExportParams, parse_export_args, parse_render_args, stored_config
from arguments.exporting import STILL_FORMATS, SUFFIXES
from utils.errors import UserError, exit_on_user_error
from utils.startup import prepare_environment

if TYPE_CHECKING:
    from rendering.light_scores import Truth
    from scene.avatar import Avatar
    from scene.light_head import LightHead

# Of the clip's motion, to score the fit.
MOST_SCORED = 24
# Aim: what may be lost, dB.
MOST_LOST = 0.3


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    # Before torch is imported: --help and a wrong flag answer at once.
    params = parse_export_args(argv)
    prepare_environment()
    from dataclasses import replace

    from rendering.baking import bake, check_bakeable, fitted_frames
    from rendering.formats.writing import write_still
    from rendering.light_scores import agreement
    from rendering.web_page import room_for_avatar
    from scene import load_avatar
    from scene.light_head import LightHead
    from utils.device import choose_device
    from utils.sampling import evenly_spread

    avatar = load_avatar(params.model_path, params.iteration, choose_device(params.device))
    path = params.out or default_path(params, avatar.iteration)
    if params.kind in STILL_FORMATS:
        print(write_still(params, avatar, path))
        return
    if params.kind != "light" and isinstance(avatar.head, LightHead):
        refuse_sizes(params)
        print(written(params, avatar, path))
        return
    check_bakeable(avatar)
    max_bytes = room_for_avatar(params.max_bytes) if params.kind == "web" else params.max_bytes
    fitted, odd = fitted_frames(avatar.motion), avatar.motion[1::2]
    others = odd[evenly_spread(len(odd), MOST_SCORED)] if len(odd) else fitted
    baked = bake(avatar, fitted, max_bytes, params.shown_yaw, params.quiet)
    file = written(params, replace(avatar, head=baked.head), path)
    print(
        f"{file}, {baked.head.num_splats:,} splats ({baked.num_hidden:,} "
        f"never show within {params.shown_yaw:g} degrees), {baked.num_components} components, "
        f"{baked.step:.3f} pixels a step"
    )
    scores = agreement(avatar, baked.head, others, params.quiet)
    print(
        f"PSNR against the full avatar: {scores.front.mean():.2f} dB in front "
        f"(least {scores.front.min():.2f}), "
        f"{scores.side.mean():.2f} dB at 30 degrees, over {len(others)} expressions that were not fitted; "
        f"{scores.alone.mean():.2f} dB with one coefficient at 1 (least {scores.alone.min():.2f})"
    )
    print(loss_in_words(held_out_truth(params, avatar, baked.head), float(scores.front.mean())))


def refuse_sizes(params: ExportParams) -> None:
    """Raise UserError for what only baking heeds: this avatar is baked. A page can still be too large."""
    for name in ("max_yaw", *(["max_megabytes"] if params.kind == "lam" else [])):
        if getattr(params, name) is not None:
            raise UserError(f"--{name}: {params.model_path} is a light form already; name the full avatar")


def default_path(params: ExportParams, iteration: int) -> Path:
    """Where what is written lies: in the run's folder, or beside a file."""
    from scene.avatar import light_path

    path, model_path = light_path(params.model_path, iteration), params.model_path
    if params.kind == "light":
        return path
    is_file = model_path.suffix == ".safetensors"
    stem = model_path.stem.removesuffix("_light") if is_file else path.stem
    return path.with_name(f"{stem}{SUFFIXES[params.kind]}")


def written(params: ExportParams, light: Avatar, path: Path) -> str:
    """Write a light avatar to its file, its page or its LAM zip; return the name and size. Raises
    UserError where it does not fit."""
    from rendering.formats.lam import lam_zip
    from rendering.web_page import clip_rate, web_page
    from scene.avatar import save_avatar
    from utils.files import write_bytes, write_text

    if params.kind != "web":
        if params.kind == "lam":
            write_bytes(path, lam_zip(light, path.stem))
        else:
            save_avatar(light, path)
        return f"{path}: {path.stat().st_size / 1e6:.2f} MB"
    page = web_page(
        light, params.model_path.stem.removesuffix("_light"), clip_rate(source_path_of(params.model_path))
    )
    size = len(page.encode())
    if size > params.max_bytes:
        raise UserError(f"--max_megabytes: the page of this light form has {size / 1e6:.2f}")
    write_text(path, page)
    return f"{path}: {size / 1e6:.2f} MB, open it in a browser"


def source_path_of(model_path: Path) -> Path | None:
    """The data that a run learned from, where its folder tells."""
    if not (model_path / CONFIG_NAME).is_file():
        return None
    return stored_config(model_path).model.source_path


def held_out_truth(params: ExportParams, avatar: Avatar, light: LightHead) -> Truth | None:
    """Scores on held-out frames of the run's data, where that is at hand."""
    from rendering.light_scores import against_truth
    from rendering.views import view_sets

    if not (params.model_path / CONFIG_NAME).is_file():
        return None
    try:
        config = parse_render_args(["-m", str(params.model_path), "--skip_train"])
        sets = view_sets(config, avatar, avatar.background.device).sets
    except UserError as error:
        print(f"no scores on held-out frames: {error}", file=sys.stderr)
        return None
    return against_truth(avatar, light, sets["test"], config.pipeline) if sets.get("test") else None


def loss_in_words(truth: Truth | None, against_full: float) -> str:
    """The line that says what is lost, on held-out frames where they are at hand."""
    from rendering.light_scores import USUAL_PSNR, expected_loss

    if truth is not None:
        lost = truth.full - truth.light
        what = f"{truth.num_frames} held-out frames against their truth: full {truth.full:.2f} dB, light "
        what += f"{truth.light:.2f} dB: {lost:.2f} dB lost"
    else:
        lost = expected_loss(against_full)
        what = f"no held-out frames at hand; an avatar of {USUAL_PSNR:g} dB loses about {lost:.2f} dB by that"
    return f"{what} (aim: at most {MOST_LOST})"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
