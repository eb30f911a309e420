"""Small avatars on show, for tests."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from websockets.sync.client import ClientConnection, connect

from gaussian_renderer import render
from scene import Drive
from scene.avatar import Avatar, save_avatar
from scene.cameras import Camera
from tests.scene.heads import EXPRESSION_SIZE, make_head
from viewing.desk import Desk
from viewing.exhibit import Exhibit
from viewing.server import ViewerServer, listen

NAMES = ("jawOpen", "mouthSmileLeft", "eyeBlinkLeft", "browInnerUp", "cheekPuff")
BACKGROUND = (0.1, 0.2, 0.3)
# What lies below belongs to the mouth, world units.
MOUTH_TOP = -0.3


def make_avatar(
    scaffold: bool = True, names: tuple[str, ...] = NAMES, size: int = 96, num_gaussians: int = 300
) -> Avatar:
    """An avatar whose jawOpen moves what is low, on a scaffold; else one that floats."""
    head = make_head(num_gaussians, scaffold=scaffold, seed=3)
    if scaffold:
        # Only the scaffold follows the expression.
        head.known_signals.zero_()
        is_mouth = head.scaffold.neutral[:, 1] < MOUTH_TOP
        head.scaffold.shapes.zero_()
        head.scaffold.shapes[0, is_mouth] = torch.tensor([0.0, -0.25, 0.0])
        head.scaffold.ball_turns.zero_()
    generator = torch.Generator().manual_seed(0)
    motion = torch.rand(8, EXPRESSION_SIZE, generator=generator)
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    pose[2, 3] = 3.0
    camera = Camera(pose, 1.4 * size, 1.4 * size, size / 2, size / 2, size, size)
    neutral = torch.zeros(EXPRESSION_SIZE)
    head.eval().requires_grad_(False)
    return Avatar(head, neutral, names, camera, torch.ones(3), iteration=7, motion=motion)


class Shown(NamedTuple):
    """A server with avatars on show."""

    server: ViewerServer
    desk: Desk
    avatars: Sequence[Avatar]

    @property
    def socket_address(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}/socket"


@contextlib.contextmanager
def on_show(*avatars: Avatar, first: Callable[[Shown], None] = lambda shown: None) -> Iterator[Shown]:
    """Serve avatars; another thread does what comes `first`, then draws."""
    server, _ = listen("127.0.0.1", 0)
    desk = Desk([Exhibit(f"avatar {i}", a) for i, a in enumerate(avatars)], server.publish_film)
    is_over = threading.Event()
    shown = Shown(server, desk, avatars)

    def draw() -> None:
        first(shown)
        desk.serve_until(is_over.is_set)

    drawing = threading.Thread(target=draw)
    with server.serving(desk):
        drawing.start()
        try:
            yield shown
        finally:
            is_over.set()
            drawing.join()


class Page:
    """What a page does, without a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.welcome = self.wait_for("welcome")

    def send(self, **message) -> None:
        self.connection.send(json.dumps(message))

    def receive(self) -> tuple[dict, bytes]:
        """The next message; a picture's header and its bytes."""
        message = self.connection.recv(timeout=30)
        if isinstance(message, str):
            return json.loads(message), b""
        length = int.from_bytes(message[:4], "little")
        return {"type": "picture", **json.loads(message[4 : 4 + length])}, message[4 + length :]

    def wait_for(self, kind: str) -> dict:
        """The next message of this type; others before it are dropped."""
        while (found := self.receive()[0])["type"] != kind:
            pass
        return found


@contextlib.contextmanager
def page_of(shown: Shown) -> Iterator[Page]:
    with connect(shown.socket_address, max_size=None, proxy=None) as connection:
        yield Page(connection)


def camera_message(camera: Camera) -> dict:
    sizes = {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    return {"world_to_camera": camera.world_to_camera.double().flatten().tolist(), **sizes}


def view_message(avatar: Avatar, width: int = 64, **expression: float) -> dict:
    """The fields of a message that say what is seen from where."""
    return {"camera": camera_message(avatar.camera.scaled(width, width)), "expression": expression}


def draw_message(avatar: Avatar, number: int = 1, **changes) -> dict:
    message = {
        "type": "draw",
        "id": number,
        "avatars": [0],
        "mode": "image",
        "background": list(BACKGROUND),
        "encoding": "png",
        **view_message(avatar, jawOpen=0.5),
    }
    return {**message, **changes}


def rendered(
    avatar: Avatar, camera: Camera, background=BACKGROUND, moves_head: bool = False, **expression: float
) -> np.ndarray:
    """What render.py draws: [H, W, 3] 0 to 1; moves_head: where the head was filmed by this camera."""
    camera = replace(camera, near=avatar.camera.near)
    with torch.no_grad():
        splats = avatar.head(
            camera, Drive(avatar.expression(**expression), camera.world_to_camera if moves_head else None)
        )
        image = render(camera, splats, torch.tensor(background)).image
    return image.clamp(0, 1).permute(1, 2, 0).numpy()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a.astype(np.float64) - b) ** 2)))


def folder_of(tmp_path: Path, avatar: Avatar) -> Path:
    """A run's folder with this avatar."""
    save_avatar(avatar, tmp_path / "run" / "model" / f"iteration_{avatar.iteration}.safetensors")
    return tmp_path / "run"
