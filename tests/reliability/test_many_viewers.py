"""Eight programs at one viewer, each of which wants pictures as fast as they come, for a minute.

Prints how often each was served, the longest that one waited, and the server's memory. VIEWED_AVATAR names an
avatar's file in place of a synthetic one of 24,000 Gaussians, and VIEWED_SECONDS another
time. Pictures are light forms, as while somebody plays with the page.
"""

import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from websockets.sync.client import connect

from scene.avatar import light_path, save_avatar
from tests.reliability.test_kills import ROOT
from tests.reliability.test_long_runs import GROWTH, resident
from tests.viewing.avatars import make_avatar

CLIENTS, SIDE, CORES = 8, 256, 2
SECONDS = float(os.environ.get("VIEWED_SECONDS", "60"))
# Of the most that one got, what the least served got: they share one desk fairly.
FAIR_SHARE = 0.8
# Baking a light form takes minutes where others work.
SECONDS_TO_BAKE = 900

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(SECONDS_TO_BAKE + 3 * SECONDS)]


@pytest.fixture
def model(tmp_path):
    """A copy of the avatar, and of its light form where there is one, which the viewer bakes otherwise."""
    copy = tmp_path / "avatar.safetensors"
    if "VIEWED_AVATAR" not in os.environ:
        avatar = make_avatar(num_gaussians=24_000)
        # As many and as large as a trained avatar's: a radius of 8 pixels of 256.
        with torch.no_grad():
            avatar.head.gaussians.log_scale -= math.log(2.5)
        save_avatar(avatar, copy)
        return copy
    given = Path(os.environ["VIEWED_AVATAR"])
    shutil.copy(given, copy)
    if light_path(given, None).is_file():
        shutil.copy(light_path(given, None), light_path(copy, None))
    return copy


@contextlib.contextmanager
def viewer(model, log):
    """viewer.py on two cores; its process and the address of its socket."""
    folders = os.pathsep.join([str(ROOT), *map(str, (ROOT / "submodules").iterdir())])
    # As a user starts it, whatever the tests were told of threads.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "viewer.py", "--port", "0", "--device", "cpu", "-m", str(model)]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**environment, "PYTHONPATH": folders}, stdout=file, stderr=file
        )
    try:
        os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:CORES])
        while (found := re.search(r"http://(127\.0\.0\.1:\d+)/", log.read_text())) is None:
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)
        yield process, f"ws://{found[1]}/socket"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


class Watcher(threading.Thread):
    """A page that turns the avatar and moves its face; asks for the next picture when it has the last one."""

    def __init__(self, number: int, address: str, begins: threading.Barrier) -> None:
        super().__init__(daemon=True)
        self.number, self.address, self.begins = number, address, begins
        self.times: list[float] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with connect(self.address, max_size=None, proxy=None) as connection:
                self.watch(connection)
        except BaseException as error:
            self.error = error
            self.begins.abort()

    def watch(self, connection) -> None:
        message = {}
        while message.get("type") not in ("light", "no_light"):
            found = connection.recv(timeout=SECONDS_TO_BAKE)
            message = json.loads(found)
            if message["type"] == "welcome":
                avatar = message["avatars"][0]
        assert message["type"] == "light", message
        self.begins.wait(SECONDS_TO_BAKE)
        self.times.append(time.monotonic())
        while self.times[-1] - self.times[0] < SECONDS:
            number = len(self.times)
            connection.send(json.dumps(self.request(avatar, number)))
            content = connection.recv(timeout=SECONDS)
            header = json.loads(content[4 : 4 + int.from_bytes(content[:4], "little")])
            assert header["id"] == number and header["width"] == header["height"] == SIDE
            self.times.append(time.monotonic())

    def request(self, avatar: dict, number: int) -> dict:
        own = avatar["camera"]
        x, y = SIDE / own["width"], SIDE / own["height"]
        sized = {"fx": own["fx"] * x, "cx": own["cx"] * x, "fy": own["fy"] * y, "cy": own["cy"] * y}
        pose = np.reshape(own["world_to_camera"], (4, 4))
        angle = 0.3 * np.sin(0.2 * number + self.number)
        turn = np.eye(4)
        turn[::2, ::2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        camera = {"world_to_camera": (pose @ turn).flatten().tolist(), **sized, "width": SIDE, "height": SIDE}
        # Another face each time, so that nothing is kept from the last picture.
        moved = avatar["motion"][(7 * self.number + number) % len(avatar["motion"])]
        return {
            **{"type": "draw", "id": number, "avatars": [0], "mode": "image", "background": [0, 0, 0]},
            **{"encoding": "jpeg", "form": "light", "camera": camera},
            "expression": dict(zip(avatar["coefficients"], moved, strict=True)),
        }


def test_eight_at_one_viewer_each_get_a_picture_a_second(model, tmp_path):
    with viewer(model, tmp_path / "log") as (process, address):
        begins = threading.Barrier(CLIENTS + 1)
        watchers = [Watcher(number, address, begins) for number in range(CLIENTS)]
        for watcher in watchers:
            watcher.start()
        with contextlib.suppress(threading.BrokenBarrierError):
            begins.wait(SECONDS_TO_BAKE)
        samples, load = [], [os.getloadavg()[0]]
        while any(watcher.is_alive() for watcher in watchers):
            samples.append(resident(process.pid))
            time.sleep(0.1)
        load.append(os.getloadavg()[0])
        assert [watcher.error for watcher in watchers] == [None] * CLIENTS
        assert process.poll() is None
    # Who had waited when the time was over has its last picture later.
    rates = [(len(watcher.times) - 1) / (watcher.times[-1] - watcher.times[0]) for watcher in watchers]
    waits = [max(np.diff(watcher.times)) for watcher in watchers]
    quarter = len(samples) // 4
    second, last = np.median(samples[quarter : 2 * quarter]), np.median(samples[3 * quarter :])
    print(f"\n{CLIENTS} clients, {SECONDS:.0f} s, {SIDE} x {SIDE}, load {load[0]:.1f} to {load[1]:.1f}:")
    print(f"{min(rates):.2f} to {max(rates):.2f} pictures/s each, longest wait {max(waits):.2f} s")
    print(f"{second:.1f} MB in the second quarter, {last:.1f} in the last one")
    assert min(rates) >= 1
    assert min(rates) >= FAIR_SHARE * max(rates)
    assert last <= (1 + GROWTH) * second
