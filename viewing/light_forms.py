"""Light forms for browsers: found beside the avatar, or baked while pages are served.

Baking is torch's work as drawing is, in the same thread: after each of its parts the desk has a turn, so that
pages get pictures meanwhile. What is baked is kept where export.py would write it.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from arguments import ExportParams, ViewingParams
from rendering.baking import bake, check_bakeable, fitted_frames
from scene.avatar import Avatar, light_path, load_avatar, save_avatar
from scene.light_head import LightHead
from utils.checkpoint import find_iteration
from utils.errors import UserError
from utils.files import why_not_writable
from viewing.desk import Desk
from viewing.pages import Page
from viewing.server import ViewerServer

# What a browser draws is what `python export.py` makes.
SIZES = ExportParams()
# Each part of a bake, as a page shows it, and its share of the time.
_PARTS = {"looking": (0.0, 0.75), "sizing": (0.75, 0.25)}


def offer_light_forms(desk: Desk, server: ViewerServer, params: ViewingParams) -> None:
    """Find or bake the light form of every avatar on show, and tell the pages where it lies."""
    for number, (exhibit, model_path) in enumerate(zip(desk.exhibits, params.model_path, strict=True)):
        try:
            content, head, note = _light_form(number, desk, exhibit.avatar, model_path, params.quiet)
            exhibit.offer_light_(head.to(exhibit.avatar.background.device))
        except UserError as error:
            content, note = None, f"{exhibit.name}: drawn here, not in the browser: {error}"
        if note and not params.quiet:
            print(note, flush=True)
        if content is None:
            desk.announce(("light", number), type="no_light", avatar=number, message=note)
            continue
        path = f"/light/{number}.safetensors"
        server.publish(path, Page("application/octet-stream", content))
        desk.announce(("light", number), type="light", avatar=number, url=path, bytes=len(content))


def _light_form(
    number: int, desk: Desk, avatar: Avatar, model_path: Path, quiet: bool
) -> tuple[bytes, LightHead, str]:
    """The bytes of the file, what it holds, and a line for the terminal. Raises UserError where an avatar has
    none."""
    if isinstance(avatar.head, LightHead):
        file = model_path
        if model_path.suffix != ".safetensors":
            file = find_iteration(model_path / "model", avatar.iteration)
        return file.read_bytes(), avatar.head, ""
    path = light_path(model_path, avatar.iteration)
    if _is_of(path, model_path, avatar):
        return path.read_bytes(), load_avatar(path).head, f"light form for the browser: {path}"
    check_bakeable(avatar)

    def watch(part: str, done: int, total: int) -> None:
        before, share = _PARTS[part]
        progress = round(before + share * done / total, 3)
        desk.announce(("light", number), type="baking", avatar=number, progress=progress)
        desk.round()

    baked = bake(
        avatar,
        fitted_frames(avatar.motion),
        SIZES.max_bytes,
        SIZES.shown_yaw,
        quiet,
        watch,
    )
    content, note = _stored(replace(avatar, head=baked.head), path)
    return content, baked.head, note


def _is_of(path: Path, model_path: Path, avatar: Avatar) -> bool:
    """Whether a light form is there, and not older than what it was made of."""
    if not path.is_file():
        return False
    model = model_path
    if model_path.suffix != ".safetensors":
        model = find_iteration(model_path / "model", avatar.iteration)
    return path.stat().st_mtime >= model.stat().st_mtime and load_avatar(path).iteration == avatar.iteration


def _stored(light: Avatar, path: Path) -> tuple[bytes, str]:
    """Keep it for the next time, where that may be; else for this one."""
    if (reason := why_not_writable(path.parent)) is None:
        save_avatar(light, path)
        return path.read_bytes(), f"light form for the browser: {path} (kept for the next time)"
    with tempfile.TemporaryDirectory(prefix="gaussianhead-light-") as folder:
        file = Path(folder) / path.name
        save_avatar(light, file)
        return file.read_bytes(), f"light form for the browser: not kept, {reason}"
