"""The examples do what they say against a server that runs."""

import functools
import http.server
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.viewing.avatars import make_avatar, on_show, page_of

EXAMPLES = Path(__file__).parents[1] / "examples"
MOST_LINES = 70


@pytest.fixture(scope="module")
def shown():
    with on_show(make_avatar()) as shown:
        shown.server.serves_api = True
        yield shown


@pytest.fixture(scope="module")
def site():
    """The folder of the examples, on a server of its own."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=EXAMPLES)
    handler.log_message = lambda *args: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def api_address(shown) -> str:
    return shown.socket_address.replace("/socket", "/api")


def test_the_program_saves_pictures_of_a_face_that_moves(shown, tmp_path):
    command = [sys.executable, EXAMPLES / "drive_by_websocket.py", api_address(shown), tmp_path / "pictures"]
    with page_of(shown) as page:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert page.wait_for("live")["source"] == "a program"
    assert "avatar 0 has 5 coefficients" in done.stdout
    # The avatar lacks one of the names; the server says so, once.
    assert done.stdout.count("does not know eyeBlinkRight") == 1
    files = sorted((tmp_path / "pictures").iterdir())
    assert [file.name for file in files] == [f"{number:05d}.jpg" for number in range(50)]
    first, moved = (cv2.imread(str(files[number])).astype(float) for number in (0, 12))
    assert first.shape == (256, 256, 3) and np.abs(first - moved).mean() > 1


@pytest.mark.browser
def test_the_page_shows_the_avatar_where_it_is_allowed(browser, shown, site):
    page = browser.new_page()
    address = f"{site}/drive_from_a_page.html?api={api_address(shown)}"
    page.goto(address)
    wait(page, "document.getElementById('said').value.startsWith('no connection')")
    shown.server.allowed_origins = frozenset({site})
    page.goto(address)
    wait(page, "document.getElementById('picture').naturalWidth === 256 && number > 3")
    before = page.locator("#picture").screenshot()
    page.locator("#jaw").fill("1")
    seen = page.evaluate("number")
    wait(page, f"number > {seen + 3}")
    assert page.locator("#picture").screenshot() != before
    page.close()


def wait(page, condition: str) -> None:
    deadline = time.monotonic() + 30
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


@pytest.mark.parametrize("example", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_examples_are_short(example):
    assert len(example.read_text().splitlines()) <= MOST_LINES
