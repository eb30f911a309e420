"""The options of viewer.py and its command line."""

from dataclasses import dataclass
from pathlib import Path

from arguments.command_line import build_parser, parse_flags
from arguments.params import device_option, option, port_option
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
    return params
