"""The server as pages and others see it: who is let in, what is answered, films."""

import http.client
import json
import socket

import cv2
import imageio.v2 as imageio
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.viewing.avatars import draw_message, make_avatar, on_show, page_of, psnr, rendered, view_message
from utils.errors import UserError
from viewing.messages import LARGEST_MESSAGE
from viewing.server import listen


@pytest.fixture(scope="module")
def shown():
    with on_show(make_avatar(), make_avatar(scaffold=False)) as shown:
        yield shown


def get(shown, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", shown.server.port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{shown.server.port}")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read()


def pixels(content: bytes) -> np.ndarray:
    """[H, W, 3] 0 to 1."""
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] / 255


def test_the_page_is_served(shown):
    status, content = get(shown, "/")
    assert status == 200 and b"/viewer/main.js" in content
    assert get(shown, "/renderer.js")[0] == get(shown, "/viewer/main.js?x=1")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../viewer.py",
            "/viewer/../../viewer.py",
            "/%2e%2e/viewer.py",
            "//etc/passwd",
            "/web/renderer.js",
        ),
        *("/viewer", "/viewer/", "/renderer.js/", "/.", "/..", "/renderer.js%00.html", "/\\..\\viewer.py"),
    ],
)
def test_nothing_but_the_files_of_the_table_is_served(shown, path):
    assert get(shown, path)[0] == 404


def test_requests_under_a_foreign_name_are_refused(shown):
    """A name of somebody else that leads here: its pages would count as ours (DNS rebinding)."""
    port = shown.server.port
    for host in (f"evil.example:{port}", "evil.example", "", "127.0.0.1.evil.example", "["):
        assert get(shown, "/", host or " ")[0] == 421
    for host in (f"localhost:{port}", "127.0.0.1:9999", f"[::1]:{port}"):
        assert get(shown, "/", host)[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "http://localhost"])
def test_pages_of_others_are_refused(shown, origin):
    with pytest.raises(InvalidStatus) as refusal:
        connect(shown.socket_address, origin=origin, proxy=None).__enter__()
    assert refusal.value.response.status_code == 403


def test_our_own_page_is_let_in(shown):
    origin = f"http://127.0.0.1:{shown.server.port}"
    with connect(shown.socket_address, origin=origin, proxy=None) as connection:
        assert json.loads(connection.recv(timeout=30))["type"] == "welcome"


def test_a_page_learns_what_is_on_show(shown):
    with page_of(shown) as page:
        first, second = page.welcome["avatars"]
    assert first["coefficients"] == list(shown.avatars[0].expression_names)
    assert first["splats"] == 300 and first["iteration"] == 7 and len(first["motion"]) == 8
    assert "scaffold" in first["modes"] and "scaffold" not in second["modes"]
    assert second["ranges"][1] == pytest.approx(shown.avatars[1].motion.amax(dim=0).tolist(), abs=1e-4)


def test_a_picture_is_the_one_that_render_draws(shown):
    with page_of(shown) as page:
        for number, avatar in enumerate(shown.avatars):
            page.send(**draw_message(avatar, 40 + number, avatars=[number]))
            header, content = page.receive()
            assert header["id"] == 40 + number and header["avatar"] == number
            expected = rendered(avatar, avatar.camera.scaled(64, 64), jawOpen=0.5)
            # Only rounded to 8 bits.
            assert psnr(pixels(content), expected) > 50


def test_modes_differ_and_a_transparent_picture_has_alpha(shown):
    pictures = {}
    with page_of(shown) as page:
        for mode in ("image", "depth", "alpha", "ellipsoids", "scaffold"):
            page.send(**draw_message(shown.avatars[0], mode=mode))
            pictures[mode] = pixels(page.receive()[1])
        page.send(**draw_message(shown.avatars[0], background=None, encoding="jpeg"))
        header, content = page.receive()
    first, *others = pictures.values()
    assert all(np.abs(first - other).mean() > 0.01 for other in others)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert header["encoding"] == "png" and decoded.shape[2] == 4
    assert np.abs(decoded[..., 3] / 255 - pictures["alpha"][..., 0]).max() < 0.02


def test_a_malformed_message_is_answered_and_the_next_one_served(shown):
    with page_of(shown) as page:
        for text in ("{", "[]", '{"type": "draw"}', '{"type": "pause", "paused": true}'):
            page.connection.send(text)
            assert page.receive()[0]["type"] == "error"
        page.send(**draw_message(shown.avatars[0], 3))
        assert page.receive()[0]["id"] == 3


def test_a_message_without_end_ends_the_conversation(shown):
    with page_of(shown) as page, pytest.raises(ConnectionClosed):
        page.connection.send("x" * (LARGEST_MESSAGE + 1))
        page.receive()


def test_the_latest_request_wins(shown):
    with page_of(shown) as page:
        for number in range(60):
            page.send(**draw_message(shown.avatars[0], number))
        seen = [page.receive()[0]["id"]]
        while seen[-1] != 59:
            seen.append(page.receive()[0]["id"])
    assert seen == sorted(seen) and len(seen) < 60


def test_two_pages_are_served_in_turn(shown):
    avatar = shown.avatars[0]
    with page_of(shown) as first, page_of(shown) as second:
        # The first one is never content; the second one waits for no more than a few of its pictures.
        for number in range(30):
            first.send(**draw_message(avatar, number))
            if number == 10:
                second.send(**draw_message(avatar, 7, **view_message(avatar, 32, jawOpen=1.0)))
            assert first.receive()[0]["width"] == 64
        header, content = second.receive()
    assert header["id"] == 7 and header["width"] == 32
    assert psnr(pixels(content), rendered(avatar, avatar.camera.scaled(32, 32), jawOpen=1.0)) > 50


def test_a_film_has_a_frame_for_every_moment(shown):
    frames = [view_message(shown.avatars[0], 64, jawOpen=i / 11) for i in range(12)]
    order = draw_message(shown.avatars[0], avatars=[0, 1]) | {"type": "record", "fps": 25, "frames": frames}
    with page_of(shown) as page:
        page.send(**order)
        progress = []
        while (message := page.receive()[0])["type"] == "filming":
            progress.append(message["done"])
        assert progress == list(range(1, 13)) and message["type"] == "film" and message["frames"] == 12
    status, content = get(shown, message["url"])
    # Not list(): imageio takes a film to be endless.
    film = np.stack([frame for frame in imageio.get_reader(content, format="mp4")])  # noqa: C416
    assert status == 200 and film.shape == (12, 64, 128, 3)
    last = rendered(shown.avatars[0], shown.avatars[0].camera.scaled(64, 64), jawOpen=1.0)
    # H.264 halves the resolution of colours.
    assert psnr(film[-1, :, :64] / 255, last) > 25
    assert np.abs(film[0].astype(float) - film[-1]).max() > 30


def test_a_film_can_be_cancelled_and_another_one_ordered(shown):
    film = draw_message(shown.avatars[0]) | {"type": "record", "fps": 25}
    with page_of(shown) as page:
        page.send(**film, frames=[view_message(shown.avatars[0])] * 500)
        page.wait_for("filming")
        page.send(**film, frames=[view_message(shown.avatars[0])])
        assert "one film at a time" in page.wait_for("error")["message"]
        page.send(type="cancel")
        page.wait_for("film_cancelled")
        page.send(**film, frames=[view_message(shown.avatars[0])])
        assert page.wait_for("film")["frames"] == 1


def test_a_port_that_is_in_use_is_said_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"--port {port}: in use by another program; \d+ is free"):
            listen("127.0.0.1", port)


def test_the_default_port_gives_way(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr("viewing.server.DEFAULT_PORT", port)
        server, note = listen("127.0.0.1", None)
        server._listener.close()
    assert server.port > port and note == f"port {port} is in use: serving at {server.port}"


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(UserError, match=r"--host 192\.0\.2\.1: cannot serve there"):
        listen("192.0.2.1", 0)
    with pytest.raises(UserError, match=r"--host no\.such\.host\.invalid: no such address"):
        listen("no.such.host.invalid", 0)
