"""A page that plays an avatar in a browser: one HTML file with everything in it.

`web/` holds its modules, written to be served as they are. Here they are put into the page itself: modules as
data: addresses under an import map, since a page from the disk may import no files; the style as it is; the
avatar's light form (scene/light_file.py), deflated, as base64.
"""

import base64
import json
import re
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

from rendering.driving.data_set import TRANSFORMS, frame_rate_of
from scene.avatar import MOTION, Avatar, save_avatar
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError

WEB = Path(__file__).resolve().parent.parent / "web"
PAGE = WEB / "page" / "index.html"
STYLE_LINK = '<link rel="stylesheet" href="style.css">'
MAIN_SCRIPT = '<script type="module" src="main.js"></script>'
# Of videos whose rate nobody wrote down.
USUAL_RATE = 25.0
# How modules are called in the import map.
PREFIX = "avatar/"
_RELATIVE_IMPORT = re.compile(r"""(\bfrom ')(\.{1,2}/[^']+)(')""")


def web_page(avatar: Avatar, title: str, frame_rate: float = USUAL_RATE) -> str:
    """The page of an avatar in its light form."""
    payload = base64.b64encode(_payload(avatar, title, frame_rate)).decode()
    return _page_with(payload)


def room_for_avatar(max_bytes: int) -> int:
    """How large a light form may be for a page of so many bytes. Raises UserError where there is no room."""
    room = (max_bytes - len(_page_with("").encode())) // 4 * 3
    if room <= 0:
        least = len(_page_with("").encode()) / 1e6
        raise UserError(f"--max_megabytes: the page without an avatar has {least:.2f} already")
    return room


def clip_rate(source_path: Path | None) -> float:
    """Frames per second of the clip that an avatar learned from, where its data tell."""
    path = None if source_path is None else source_path / TRANSFORMS
    rate = frame_rate_of(path) if path is not None and path.is_file() else None
    return rate or USUAL_RATE


def _payload(avatar: Avatar, title: str, frame_rate: float) -> bytes:
    """The avatar's file, deflated, without what follows the torso: a page has no pose of the head."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "avatar.safetensors"
        save_avatar(replace(avatar, motion=None), path)
        tensors, metadata = load_checkpoint(path)
        tensors = {name: value for name, value in tensors.items() if not name.startswith("torso.")}
        if avatar.motion is not None:
            tensors[MOTION] = avatar.motion.half()
        save_checkpoint(path, tensors, metadata | {"title": title, "frame_rate": frame_rate})
        return zlib.compress(path.read_bytes(), level=9)


def _page_with(payload: str) -> str:
    page = PAGE.read_text(encoding="utf-8")
    modules = {f"{PREFIX}{name}": _module_address(name) for name in _module_names()}
    head = (
        f"<style>\n{(PAGE.parent / 'style.css').read_text(encoding='utf-8')}</style>",
        f'<script type="importmap">{json.dumps({"imports": modules})}</script>',
    )
    body = (
        f'<script type="text/plain" id="avatar-data">{payload}</script>',
        f'<script type="module">import "{PREFIX}page/main.js";</script>',
    )
    assert STYLE_LINK in page and MAIN_SCRIPT in page
    return page.replace(STYLE_LINK, "\n".join(head)).replace(MAIN_SCRIPT, "\n".join(body))


def _module_names() -> list[str]:
    """Of the page: what lies in web/ itself is the renderer, which viewer.py serves too."""
    return sorted(path.relative_to(WEB).as_posix() for path in (*WEB.glob("*.js"), *WEB.glob("page/*.js")))


def _module_address(name: str) -> str:
    """A module as a data: address, its imports by the names of the import map."""
    folder = (WEB / name).parent

    def absolute(found: re.Match) -> str:
        return f"{found[1]}{PREFIX}{(folder / found[2]).resolve().relative_to(WEB).as_posix()}{found[3]}"

    source = _RELATIVE_IMPORT.sub(absolute, (WEB / name).read_text(encoding="utf-8"))
    return f"data:text/javascript;base64,{base64.b64encode(source.encode()).decode()}"
