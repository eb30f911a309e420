"""viewer.py itself: packets of a phone move the avatar, Ctrl-C ends it, bad input is one line."""

import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.rendering.driving.live.packets import GOOD
from tests.viewing.avatars import folder_of, make_avatar

ROOT = Path(__file__).parents[2]
SCRIPT = [sys.executable, "viewer.py", "--no-light", "--port", "0"]


def test_packets_move_the_avatar_until_it_is_ended(tmp_path):
    command = [
        *SCRIPT,
        "-m",
        folder_of(tmp_path, make_avatar()),
        "--live",
        "vmc",
        "--live_port",
        "0",
        "--serve",
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as viewer:
        try:
            lines = [viewer.stdout.readline() for _ in range(2)]
            udp = int(re.search(r"live: VMC at UDP 127\.0\.0\.1:(\d+) moves", lines[0])[1])
            tcp = int(re.search(r"http://127\.0\.0\.1:(\d+)/", lines[1])[1])
            with connect(f"ws://127.0.0.1:{tcp}/socket", proxy=None) as page:
                assert json.loads(page.recv(timeout=30))["live"] == f"VMC at UDP 127.0.0.1:{udp}"
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    for packet in (b"\xff" * 50_000, b"no OSC", GOOD["vmc"]):
                        sender.sendto(packet, ("127.0.0.1", udp))
                message = json.loads(page.recv(timeout=30))
            assert message["expression"]["jawOpen"] == pytest.approx(0.4)
            with connect(f"ws://127.0.0.1:{tcp}/api", proxy=None) as program:
                program.send('{"type": "hello"}')
                assert json.loads(program.recv(timeout=30))["type"] == "hello"
            # As browsers open some, to be sooner: the server waits for their first words, but not to end.
            silent = socket.create_connection(("127.0.0.1", tcp))
        finally:
            viewer.send_signal(signal.SIGINT)
        with silent:
            errors = viewer.communicate(timeout=8)[1]
    assert viewer.returncode == 130
    assert errors.count("a packet from 127.0.0.1 was dropped") == 1 and "Traceback" not in errors


def refusal(*argv) -> str:
    """The one line with which viewer.py ends."""
    done = subprocess.run([*SCRIPT, *argv], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_an_avatar_that_cannot_be_driven_is_one_line(tmp_path):
    folder = folder_of(tmp_path, make_avatar(names=("a", "b", "c", "d", "e")))
    said = refusal("-m", folder, "--live", "vmc", "--live_port", "0")
    assert "needs an avatar with ARKit's coefficients, this one has a, b, c" in said


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is not None, reason="mediapipe is here")
def test_a_camera_without_mediapipe_is_one_line(tmp_path):
    assert "no module named mediapipe: pip install" in refusal("-m", tmp_path, "--webcam")
