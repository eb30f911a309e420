"""Programs that drive an avatar: every message, what is refused, who is let in."""

import contextlib
import json
import time

import cv2
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rendering.driving.head_angles import rotations_of
from tests.viewing.avatars import (
    BACKGROUND,
    NAMES,
    camera_message,
    make_avatar,
    on_show,
    page_of,
    psnr,
    rendered,
)
from viewing.api import MOST_REQUESTS


@pytest.fixture(scope="module")
def shown():
    with on_show(make_avatar(), make_avatar(names=("a", "b", "c", "d", "e"))) as shown:
        shown.server.serves_api = True
        shown.server.allowed_origins = frozenset({"http://localhost:8000"})
        yield shown


class Program:
    def __init__(self, connection) -> None:
        self.connection = connection

    def send(self, type: str, **fields) -> None:
        self.connection.send(json.dumps({"type": type, **fields}))

    def receive(self) -> dict:
        """A message, or a picture's header with its `content`."""
        message = self.connection.recv(timeout=30)
        if isinstance(message, str):
            return json.loads(message)
        length = int.from_bytes(message[:4], "little")
        return json.loads(message[4 : 4 + length]) | {"content": message[4 + length :]}

    def picture(self, **fields) -> np.ndarray:
        """[H, W, 3] 0 to 1."""
        self.send("request_picture", **{"id": 1, "encoding": "png"} | fields)
        return decoded(self.receive()["content"])


def decoded(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] / 255


@contextlib.contextmanager
def program_of(shown, **options):
    address = shown.socket_address.replace("/socket", "/api")
    with connect(address, max_size=None, proxy=None, **options) as connection:
        yield Program(connection)


def test_hello_tells_what_is_on_show(shown):
    with program_of(shown) as program:
        program.send("hello", version=1)
        hello = program.receive()
        program.send("hello", avatar=1, show=False)
        assert program.receive()["avatar"] == 1
    assert hello["type"] == "hello" and hello["version"] == 1 and hello["avatar"] == 0
    assert [avatar["name"] for avatar in hello["avatars"]] == ["avatar 0", "avatar 1"]
    first = hello["avatars"][0]
    assert first["coefficients"] == list(NAMES) and first["arkit"] and len(first["ranges"][0]) == len(NAMES)


def test_a_picture_shows_what_was_set(shown):
    avatar = shown.avatars[0]
    with program_of(shown) as program:
        program.send("set_coefficients", coefficients={"jawOpen": 0.9})
        program.send("set_coefficients", coefficients={"mouthSmileLeft": 0.4})
        program.send("set_camera", width=64, height=64, background=BACKGROUND)
        camera = avatar.camera.scaled(64, 64)
        both = rendered(avatar, camera, jawOpen=0.9, mouthSmileLeft=0.4)
        assert psnr(program.picture(), both) > 50
        program.send("set_coefficients", coefficients={"mouthSmileLeft": 0.4}, replace=True)
        replaced = rendered(avatar, camera, mouthSmileLeft=0.4)
        assert psnr(program.picture(), replaced) > 50 and psnr(both, replaced) < 45


def test_pictures_have_their_ids_and_come_in_order(shown):
    with program_of(shown) as program:
        program.send("set_camera", width=32, height=48)
        for number in (7, 3, 2**53):
            program.send("request_picture", id=number)
        headers = [program.receive() for _ in range(3)]
    assert [header["id"] for header in headers] == [7, 3, 2**53]
    assert all(header["encoding"] == "jpeg" and header["content"][:2] == b"\xff\xd8" for header in headers)
    assert decoded(headers[0]["content"]).shape == (48, 32, 3)


def test_each_picture_is_of_the_state_in_which_it_was_asked_for(shown):
    avatar = shown.avatars[0]
    with program_of(shown) as program:
        program.send("set_camera", width=64, height=64, background=BACKGROUND)
        for number, value in enumerate((0.0, 1.0)):
            program.send("set_coefficients", coefficients={"jawOpen": value})
            program.send("request_picture", id=number, encoding="png")
        pictures = [decoded(program.receive()["content"]) for _ in range(2)]
    for picture, value in zip(pictures, (0.0, 1.0), strict=True):
        assert psnr(picture, rendered(avatar, avatar.camera.scaled(64, 64), jawOpen=value)) > 50


def test_a_head_pose_turns_the_head(shown):
    avatar = shown.avatars[0]
    camera = avatar.camera.scaled(64, 64)
    with program_of(shown) as program:
        program.send("set_camera", width=64, height=64, background=BACKGROUND)
        program.send("set_head_pose", yaw=20, pitch=5)
        turned = program.picture()
        program.send("set_head_pose")
        assert psnr(program.picture(), rendered(avatar, camera)) > 50
    # The camera of these avatars looks along -z with y up: OpenGL's axes are the world's.
    turn = rotations_of(np.deg2rad([[20, 5, 0]]))[0]
    pose = camera.world_to_camera.clone()
    pose[:3, :3] = pose[:3, :3] @ pose.new_tensor(turn)
    assert psnr(turned, rendered(avatar, camera.posed(pose), moves_head=True)) > 45


def test_cameras_by_angles_and_in_full(shown):
    avatar = shown.avatars[0]
    with program_of(shown) as program:
        program.send("set_camera", width=64, height=64, background=BACKGROUND, yaw=30)
        # Positive yaw takes a camera on +z towards +x.
        angle = np.deg2rad(30)
        c, s = float(np.cos(angle)), float(np.sin(angle))
        camera = avatar.camera.scaled(64, 64)
        about_y = camera.world_to_camera.new_tensor([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 0], [0, 0, 0, 1]])
        moved = camera.posed(camera.world_to_camera @ about_y)
        assert moved.center[0] > 0.5
        assert psnr(program.picture(), rendered(avatar, moved)) > 45
        program.send("set_camera", camera=camera_message(moved), background=BACKGROUND)
        assert psnr(program.picture(), rendered(avatar, moved)) > 50


BAD = {
    "expected JSON": "{",
    "expected a JSON object": "[1]",
    "type: expected one of hello": '{"type": "dance"}',
    "type: expected one of": '{"type": ["hello"]}',
    "hello: version: expected 1, found 2": '{"type": "hello", "version": 2}',
    "hello: avatar: expected a number from 0 to 1": '{"type": "hello", "avatar": 9}',
    'set_coefficients: no field "coefs"': '{"type": "set_coefficients", "coefs": {}}',
    "set_coefficients: coefficients: expected an object": '{"type": "set_coefficients"}',
    "coefficients.jawOpen: expected a number from -10 to 10, found NaN": (
        '{"type": "set_coefficients", "coefficients": {"jawOpen": NaN}}'
    ),
    "the avatar knows none of jaw": '{"type": "set_coefficients", "coefficients": {"jaw": 1}}',
    "replace: expected true or false": '{"type": "set_coefficients", "coefficients": {}, "replace": 1}',
    "set_head_pose: yaw: expected a number from -180": '{"type": "set_head_pose", "yaw": 1e9}',
    "set_camera: width: expected a number from 16 to 2048": '{"type": "set_camera", "width": 5000}',
    "set_camera: background: expected 3 numbers": '{"type": "set_camera", "background": [1]}',
    "set_camera: camera: world_to_camera": '{"type": "set_camera", "camera": {}}',
    "request_picture: id: expected a number": '{"type": "request_picture"}',
    "request_picture: encoding: expected one of": '{"type": "request_picture", "id": 1, "encoding": "gif"}',
}


@pytest.mark.parametrize(("complaint", "text"), BAD.items(), ids=range(len(BAD)))
def test_what_is_wrong_is_answered_and_the_conversation_goes_on(shown, complaint, text):
    with program_of(shown) as program:
        program.connection.send(text)
        answer = program.receive()
        assert answer["type"] == "error" and complaint in answer["message"]
        program.send("request_picture", id=4)
        assert program.receive()["id"] == 4


def test_unknown_coefficients_beside_known_ones_are_noted_once(shown):
    with program_of(shown) as program:
        for _ in range(2):
            program.send("set_coefficients", coefficients={"jawOpen": 1, "tongueOut": 1})
        program.send("request_picture", id=1)
        note, picture = program.receive(), program.receive()
    assert note == {"type": "note", "message": "the avatar does not know tongueOut: left out"}
    assert picture["id"] == 1


def test_too_many_requests_are_refused_by_their_id(shown):
    with program_of(shown) as program:
        program.send("set_camera", width=512, height=512)
        count = 6 * MOST_REQUESTS
        for number in range(count):
            program.send("request_picture", id=number)
        answers = [program.receive() for _ in range(count)]
    refused = [answer["id"] for answer in answers if answer.get("type") == "error"]
    assert refused and sorted(answer["id"] for answer in answers) == list(range(count))
    drawn = [answer["id"] for answer in answers if "content" in answer]
    assert len(drawn) >= MOST_REQUESTS and drawn == sorted(drawn)


def test_pages_show_what_a_program_sets_unless_it_says_otherwise(shown):
    with page_of(shown) as page, program_of(shown) as program:
        program.send("hello", show=False)
        program.receive()
        program.send("set_coefficients", coefficients={"jawOpen": 0.1})
        program.send("hello")
        program.receive()
        program.send("set_head_pose", yaw=10)
        program.send("set_coefficients", coefficients={"jawOpen": 0.8})
        first = page.wait_for("live")
        while first["expression"]["jawOpen"] != 0.8:
            assert first["expression"]["jawOpen"] == 0.1 and first["turn"] is not None
            first = page.wait_for("live")
    assert first["source"] == "a program" and first["expression"].keys() == set(NAMES)


def test_pages_of_others_need_to_be_allowed(shown):
    for origin in ("http://evil.example", "null", "http://localhost:8001", "http://["):
        with pytest.raises(InvalidStatus) as refusal, program_of(shown, origin=origin):
            pass
        assert refusal.value.response.status_code == 403
    with program_of(shown, origin="http://localhost:8000") as program:
        program.send("hello")
        assert program.receive()["type"] == "hello"
    # To the viewer's own socket they are not.
    with pytest.raises(InvalidStatus):
        connect(shown.socket_address, origin="http://localhost:8000", proxy=None).__enter__()


def test_without_serve_there_is_no_api():
    with on_show(make_avatar()) as shown:
        with pytest.raises(InvalidStatus) as refusal, program_of(shown):
            pass
        assert refusal.value.response.status_code == 404


def test_a_program_that_leaves_in_the_middle_disturbs_nobody(shown):
    with program_of(shown) as program:
        program.send("request_picture", id=1)
    time.sleep(0.1)
    with program_of(shown) as program:
        program.send("request_picture", id=2)
        assert program.receive()["id"] == 2
