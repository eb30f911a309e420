"""train.py --viewer: a page sees the head grow, holds the run and lets it go on."""

import json
import re
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import train
from tests.synthetic import write_clip
from tests.test_train_and_render import TINY
from tests.viewing.avatars import Page
from utils.checkpoint import load_metadata
from viewing import server

ITERATIONS = 150


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A training run in another thread, and its page."""
    monkeypatch.setattr(server, "DEFAULT_PORT", 0)
    clip = write_clip(tmp_path / "clip", num_frames=12)
    flags = ["-s", str(clip), "-m", str(tmp_path / "run"), *TINY, "--iterations", str(ITERATIONS), "--viewer"]
    thread = threading.Thread(target=train.main, args=(flags,))
    thread.start()
    yield thread, tmp_path / "run"
    thread.join(60)


def address_of(folder) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        log = folder / "train.log"
        found = re.search(r"open http://(\S+?)/ to see", log.read_text()) if log.is_file() else None
        if found:
            return f"ws://{found[1]}/socket"
        time.sleep(0.02)
    raise AssertionError("no page")


def test_a_page_sees_the_head_grow_holds_the_run_and_lets_it_go_on(run):
    thread, folder = run
    with connect(address_of(folder), proxy=None) as connection:
        page = Page(connection)
        assert page.welcome["pauses"] and not page.welcome["films"]
        page.send(type="pause", paused=True)
        while not (held := page.wait_for("training"))["paused"]:
            pass
        assert 0 < held["iteration"] < ITERATIONS and held["iterations"] == ITERATIONS
        avatar = page.welcome["avatars"][0]
        draw = {"type": "draw", "avatars": [0], "mode": "image", "background": None, "encoding": "png"}
        view = {"camera": avatar["camera"], "expression": {}}
        pictures = []
        for number in range(5):
            page.send(**draw, **view, id=number)
            while (answer := page.receive())[0]["type"] != "picture":
                pass
            pictures.append(answer[1])
            time.sleep(0.05)
        # Nothing moves while the run is held.
        assert len(set(pictures)) == 1 and thread.is_alive()
        page.send(type="record", fps=25, frames=[view], avatars=[0], mode="image", background=None)
        assert "no films" in page.wait_for("error")["message"]
        page.send(type="pause", paused=False)
        assert page.wait_for("training")["iteration"] == held["iteration"]
        page.send(**draw, **view, id=9)
        page.wait_for("training_over")
        with pytest.raises(ConnectionClosed):
            page.receive()
    thread.join(60)
    assert not thread.is_alive()
    saved = load_metadata(folder / "model" / f"iteration_{ITERATIONS}.safetensors")
    assert saved["iteration"] == ITERATIONS


def test_a_run_that_its_last_page_left_goes_on(run):
    thread, folder = run
    with connect(address_of(folder), proxy=None) as connection:
        page = Page(connection)
        page.send(type="pause", paused=True)
        while not page.wait_for("training")["paused"]:
            pass
    thread.join(60)
    assert not thread.is_alive()
    stored = json.loads((folder / "config.json").read_text())
    assert stored["run"]["viewer"] is True
