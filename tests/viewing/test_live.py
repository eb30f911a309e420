"""A live face on its way to pages: what they hear, pictures of it, calibration."""

import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from rendering.driving.head_angles import rotations_of
from rendering.driving.live.calibration import LiveFace
from rendering.driving.live.frame import LiveFrame, Reading
from scene.cameras import OPENGL_TO_OPENCV
from tests.viewing.avatars import camera_message, draw_message, make_avatar, on_show, page_of, psnr, rendered
from viewing.clients import Client
from viewing.exhibit import coefficient_ranges


@pytest.fixture
def shown():
    avatar = make_avatar()
    with on_show(avatar) as shown:
        shown.desk.live.begin(LiveFace(avatar, coefficient_ranges(avatar).numpy()), "a test")
        yield shown


def frame(yaw: float = 0.0, **coefficients: float) -> LiveFrame:
    now = time.perf_counter()
    turn = rotations_of(np.array([[yaw, 0, 0]]))[0]
    return LiveFrame(Reading(coefficients, turn), now - 0.02, {"landmarks": 0.02})


def test_pages_hear_of_a_face_at_once(shown):
    with page_of(shown) as page:
        assert page.welcome["live"] == "a test"
        shown.desk.live.submit(frame(yaw=0.2, jawOpen=0.7))
        message = page.wait_for("live")
    assert message["expression"]["jawOpen"] == 0.7 and message["source"] == "a test"
    assert np.reshape(message["turn"], (3, 3)) == pytest.approx(
        rotations_of(np.array([[0.2, 0, 0]]))[0], abs=1e-4
    )
    assert message["latency"]["landmarks"] == pytest.approx(20) and 20 <= message["latency"]["total"] < 2000


def test_a_picture_of_a_face_carries_its_latency(shown):
    with page_of(shown) as page:
        shown.desk.live.submit(frame(jawOpen=0.7))
        number = page.wait_for("live")["number"]
        page.send(**draw_message(shown.avatars[0], live=number))
        latency = page.receive()[0]["latency"]
        page.send(**draw_message(shown.avatars[0]))
        assert "latency" not in page.receive()[0]
    assert latency.keys() == {"landmarks", "retarget", "asked", "draw", "encode", "total"}
    # Every stage is in the whole, which has little besides.
    parts = sum(value for name, value in latency.items() if name != "total")
    assert parts - 1 <= latency["total"] <= parts + 50


def test_a_turned_head_is_what_another_camera_sees(shown):
    """The head is at the origin: its turn by R before a camera [R0 | t] is a camera [R R0 | t]."""
    avatar = shown.avatars[0]
    turn = rotations_of(np.array([[0.4, -0.2, 0.1]]))[0]
    axes = torch.from_numpy(OPENGL_TO_OPENCV[:3, :3])
    camera = avatar.camera.scaled(64, 64)
    pose = camera.world_to_camera.double().clone()
    pose[:3, :3] = axes @ torch.from_numpy(turn) @ axes @ pose[:3, :3]
    with page_of(shown) as page:
        page.send(**draw_message(avatar, turn=turn.flatten().tolist()))
        content = page.receive()[1]
        page.send(**draw_message(avatar))
        straight = page.receive()[1]
    drawn, before = (
        cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] / 255
        for each in (content, straight)
    )
    expected = rendered(avatar, camera.posed(pose.float()), moves_head=True, jawOpen=0.5)
    assert psnr(drawn, expected) > 45 and psnr(before, expected) < 35


def test_a_turn_that_is_none_is_refused(shown):
    with page_of(shown) as page:
        for turn in ([1, 0, 0, 0, 1, 0, 0, 0, -1], [1] * 9, [1, 0]):
            page.send(**draw_message(shown.avatars[0], turn=turn))
            assert page.receive()[0]["message"].startswith("turn: expected")


def test_a_page_calibrates_and_resets(shown):
    with page_of(shown) as page:
        page.send(type="calibrate", action="neutral")
        assert "no face seen yet" in page.wait_for("error")["message"]
        shown.desk.live.submit(frame(jawOpen=0.7))
        page.send(type="calibrate", action="neutral")
        assert page.wait_for("calibration")["state"] == "none"
        assert page.wait_for("calibration") == {
            "type": "calibration",
            "state": "observing",
            "seconds_left": 8,
        }
        shown.desk.live.submit(frame(jawOpen=0.7))
        rest = float(np.percentile(shown.avatars[0].motion[:, 0], 10))
        assert page.wait_for("live")["expression"]["jawOpen"] < 0.7
        shown.desk.live.submit(frame(jawOpen=0.7))
        assert page.wait_for("live")["expression"]["jawOpen"] == pytest.approx(rest, abs=1e-3)
        page.send(type="calibrate", action="reset")
        assert page.wait_for("calibration")["state"] == "none"
        page.send(type="calibrate", action="dance")
        assert page.wait_for("error")["message"].startswith("action: expected one of neutral, reset")


def test_without_a_source_there_is_nothing_to_calibrate():
    with on_show(make_avatar()) as shown, page_of(shown) as page:
        assert page.welcome["live"] == ""
        page.send(type="calibrate", action="neutral")
        assert "no camera and no network source" in page.wait_for("error")["message"]


def test_of_faces_that_a_page_has_not_taken_the_newest_is_kept():
    sent, is_free = [], []

    def send(message):
        sent.append(message)
        while not is_free:
            time.sleep(0.001)

    client = Client(SimpleNamespace(send=send, close=lambda: None))
    client.tell(type="first")
    while not sent:
        time.sleep(0.001)
    for number in range(1_000):
        client.tell_newest("live", type="live", number=number)
    client.tell(type="last")
    is_free.append(True)
    client.drain(5)
    client.close()
    assert client.is_open is False and len(sent) == 3
    assert '"number": 999' in sent[1]


def test_light_and_full_form_are_kept_apart(shown):
    """Where there is no light form, the full one is drawn."""
    avatar = shown.avatars[0]
    with page_of(shown) as page:
        page.send(**draw_message(avatar, form="light", camera=camera_message(avatar.camera.scaled(64, 64))))
        light = page.receive()[1]
        page.send(**draw_message(avatar, form="full"))
        assert page.receive()[1] == light
        page.send(**draw_message(avatar, form="heavy"))
        assert "form: expected one of full, light" in page.receive()[0]["message"]
