"""The options of viewer.py and its command line."""

# ruff: noqa: RUF009 -- `option` only wraps dataclasses.field

import re
from dataclasses import dataclass
from pathlib import Path

from arguments.options import device_option, option, port_option
from arguments.parser import build_parser, parse_flags
from arguments.validation import check_ranges
from utils.errors import UserError

VIEWER_USAGE = "python viewer.py -m output/id1"
MOST_AVATARS = 4


@dataclass(frozen=True)
class ViewingParams:
    """Viewer: a page in the browser that turns, moves and records trained avatars."""

    model_path: tuple[Path, ...] = option(
        (),
        "folders of trained avatars, or their .safetensors files; several stand side by side",
        short="m",
        shown="required",
    )
    iteration: int = option(-1, "saved iteration to show; -1 = the last one", unit="iterations", low=-1)
    host: str = option("127.0.0.1", "address to serve at; 0.0.0.0 lets other machines see the avatar")
    port: int | None = port_option()
    light: bool = option(
        True,
        "let the browser draw the avatar's light form; baked and kept beside the avatar where there is none "
        "yet. --no-light: everything is drawn here",
    )
    open: bool = option(False, "open the page in this machine's browser")
    live: str = option(
        "",
        "what moves the avatar now, by network",
        choices=("ifacialmocap", "livelink", "vmc"),
        shown="nothing",
    )
    live_host: str = option(
        "127.0.0.1", "address at which --live listens; 0.0.0.0 lets a phone, and anybody else, reach it"
    )
    live_port: int | None = option(
        None, "UDP port of --live", low=0, high=65535, shown="49983, 11111 or 39539, as the protocol has it"
    )
    webcam: int | None = option(
        None, "let the face before this machine's camera N move the avatar", low=0, alone=0, shown="no camera"
    )
    video: Path | None = option(
        None, "a video in the place of the camera; plays over and over", shown="no video"
    )
    models: Path | None = option(
        None, "folder of face_landmarker.task, for --webcam and --video", shown="as in prepare.py"
    )
    serve: bool = option(False, "let programs drive the avatar by a WebSocket (docs/serve.md)")
    allow_origin: tuple[str, ...] = option(
        (), "pages of these servers may do so too, for example http://localhost:8000", shown="none"
    )
    device: str = device_option()
    quiet: bool = option(False, "print errors and the address only")


VIEWING_GROUPS = {"viewer": ViewingParams}


def parse_viewer_args(argv: list[str] | None = None) -> ViewingParams:
    """Parse and check the command line of viewer.py. Raises UserError."""
    parser = build_parser("viewer.py", VIEWER_USAGE, "Look at trained avatars in a browser.", VIEWING_GROUPS)
    params = ViewingParams(**parse_flags(parser, argv, VIEWING_GROUPS))
    check_ranges(params)
    if not params.model_path:
        raise UserError("-m/--model_path: missing; a trained avatar, for example -m output/id1")
    if len(params.model_path) > MOST_AVATARS:
        raise UserError(f"-m/--model_path: {len(params.model_path)} avatars; at most {MOST_AVATARS} fit")
    for path in params.model_path:
        if not path.exists():
            raise UserError(f"-m/--model_path {path}: no such file or folder")
    _check_sources(params)
    return params


def _check_sources(params: ViewingParams) -> None:
    """One face at a time moves the avatar; what belongs to an option that is not there is a mistake."""
    given = {"--live": params.live, "--webcam": params.webcam is not None, "--video": params.video}
    chosen = [name for name, value in given.items() if value]
    if len(chosen) > 1:
        raise UserError(f"{' and '.join(chosen)}: expected one of them, an avatar has one face")
    if params.video is not None and not params.video.is_file():
        raise UserError(f"--video {params.video}: no such file")
    if params.live_port is not None and not params.live:
        raise UserError("--live_port: nothing listens; expected --live ifacialmocap, livelink or vmc")
    if params.allow_origin and not params.serve:
        raise UserError("--allow_origin: nothing is served to other pages; expected --serve")
    for origin in params.allow_origin:
        if origin != "null" and not re.fullmatch(r"https?://[^/\s]+", origin):
            raise UserError(f"--allow_origin {origin}: expected an address such as http://localhost:8000")
