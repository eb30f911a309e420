"""Look at trained avatars in a browser: turn them, move their faces, record films.

    python viewer.py -m output/id1                  serves a page at http://127.0.0.1:8080/
    python viewer.py -m output/id1 output/id2       two avatars side by side, one camera and one expression
    python viewer.py -m output/id1 --webcam         the face before this machine's camera moves it
    python viewer.py -m output/id1 --live livelink  a phone's; or ifacialmocap, vmc
    python viewer.py -m output/id1 --serve          programs drive it by a WebSocket

The browser draws the avatar's light form, which is baked at the first start; until it is there, and where an
avatar has none, pictures are drawn here. docs/viewer.md has the rest.
"""

from __future__ import annotations

import functools

from arguments import parse_viewer_args
from utils.errors import exit_on_user_error
from utils.startup import leave, prepare_environment


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    # Before torch is imported: --help and a wrong flag answer at once.
    params = parse_viewer_args(argv)
    prepare_environment()
    from scene import load_avatar
    from utils.device import choose_device
    from viewing.desk import Desk
    from viewing.exhibit import Exhibit
    from viewing.light_forms import offer_light_forms
    from viewing.live_sources import driving, open_source
    from viewing.server import listen
    from viewing.welcome import exhibit_names, open_page, welcome_lines

    # First, so that a port in use is said at once.
    server, note = listen(params.host, params.port)
    server.serves_api = params.serve
    server.allowed_origins = frozenset(origin.lower() for origin in params.allow_origin)
    source = open_source(params, functools.partial(_make_follower, params))
    device = choose_device(params.device)
    avatars = [load_avatar(path, params.iteration, device) for path in params.model_path]
    exhibits = [Exhibit(*pair) for pair in zip(exhibit_names(params.model_path), avatars, strict=True)]
    desk = Desk(exhibits, server.publish_film)
    with server.serving(desk), driving(source, desk, params.quiet):
        for line in welcome_lines(server, device, note):
            print(line, flush=True)
        if params.open:
            open_page(server.address)
        if params.light:
            offer_light_forms(desk, server, params)
        desk.serve_until(lambda: False)


def _make_follower(params):
    """The face tracker, of which the viewer's package does not know."""
    from preparation.live_tracker import make_follower

    return make_follower(params.models, params.quiet)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        # Python would wait for connections, some of which last ten seconds.
        leave(130)
