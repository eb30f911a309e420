"""Where a live face comes from, as the command line says."""

import contextlib
import sys
from collections.abc import Callable, Iterator

import numpy as np

from arguments import ViewingParams
from rendering.driving.live.calibration import LiveFace
from rendering.driving.live.footage import Follower, Footage
from rendering.driving.live.receiver import PROTOCOLS, Receiver, is_loopback
from viewing.desk import Desk
from viewing.exhibit import coefficient_ranges

Source = Receiver | Footage


def open_source(params: ViewingParams, make_follower: Callable[[], Follower]) -> Source | None:
    """Open the camera, video or port that was asked for; None where nothing was.

    make_follower: makes the face tracker, where pictures are looked at. Raises UserError.
    """
    if params.live:
        return Receiver(PROTOCOLS[params.live], params.live_host, params.live_port)
    if params.webcam is None and params.video is None:
        return None
    return Footage(params.video if params.video is not None else params.webcam, make_follower())


@contextlib.contextmanager
def driving(source: Source | None, desk: Desk, quiet: bool) -> Iterator[None]:
    """Let a source move the first avatar while the block runs. Raises UserError for an avatar that cannot be
    driven."""
    if source is None:
        yield
        return
    avatar = desk.exhibits[0].avatar
    ranges = np.asarray(coefficient_ranges(avatar).cpu())
    report = (lambda line: None) if quiet else (lambda line: print(line, flush=True))
    desk.live.begin(LiveFace(avatar, ranges), source.title, report)
    submit = desk.live.submit if isinstance(source, Receiver) else desk.live.submit_and_wait
    source.start(submit, lambda line: print(f"live: {line}", file=sys.stderr, flush=True))
    for line in _lines(source):
        print(line, flush=True)
    try:
        yield
    finally:
        source.close()


def _lines(source: Source) -> list[str]:
    lines = [f"live: {source.title} moves the avatar; space in the page calibrates"]
    if isinstance(source, Receiver) and not is_loopback(source.host):
        lines.append(f"--live_host {source.host}: whoever reaches this port moves the avatar")
    return lines
