"""Messages of pages: what is well-formed is read, everything else is refused in words."""

import json

import pytest
import torch

from tests.viewing.avatars import BACKGROUND, draw_message, make_avatar, view_message
from viewing.checks import BadMessage
from viewing.messages import (
    LARGEST_SIDE,
    MOST_FRAMES,
    Cancel,
    Draw,
    Pause,
    Record,
    parse,
    picture_message,
)

AVATAR = make_avatar()


def test_a_request_for_a_picture_is_read():
    message = parse(json.dumps(draw_message(AVATAR, 5)), 1)
    assert isinstance(message, Draw) and message.id == 5 and message.look.background == BACKGROUND
    assert message.moment.expression == {"jawOpen": 0.5}
    assert torch.equal(message.moment.camera.world_to_camera, AVATAR.camera.world_to_camera)
    assert message.moment.camera.fx == AVATAR.camera.scaled(64, 64).fx


def test_other_requests_are_read():
    film = draw_message(AVATAR) | {"type": "record", "fps": 25, "frames": [view_message(AVATAR)] * 3}
    message = parse(json.dumps(film), 1)
    assert isinstance(message, Record) and len(message.moments) == 3 and message.fps == 25
    assert parse('{"type": "cancel"}', 1) == Cancel()
    assert parse('{"type": "pause", "paused": true}', 1) == Pause(True)


def camera_with(**changes) -> dict:
    return {"camera": {**draw_message(AVATAR)["camera"], **changes}}


SHEARED = [1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 0, 0, 0, 1]
MIRRORED = [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 0, 0, 0, 1]
BAD = {
    "type: expected": {"type": "dance"},
    "id: expected a whole number": {"id": 1.5},
    "id: expected a number, found nothing": {"id": None},
    "avatars: expected a list of 1 to 1": {"avatars": [0, 0]},
    "avatars: expected numbers below 1": {"avatars": [1]},
    "avatars: expected numbers below 1, found -1": {"avatars": [-1]},
    "avatars: expected numbers below 1, found true": {"avatars": [True]},
    "mode: expected one of": {"mode": "x-ray"},
    "encoding: expected one of": {"encoding": ["png"]},
    "background: expected 3 numbers": {"background": [0, 0]},
    "background: expected a number from 0 to 1, found 2": {"background": [0, 0, 2]},
    "expression: expected an object": {"expression": [1]},
    "expression.jawOpen: expected a number, found text": {"expression": {"jawOpen": "wide"}},
    "expression.jawOpen: expected a number from -10 to 10": {"expression": {"jawOpen": 1e9}},
    "camera: expected an object": {"camera": 3},
    "camera: width: expected a number from 16": camera_with(width=LARGEST_SIDE + 1),
    "camera: height: expected a whole number": camera_with(height=40.5),
    "camera: fx: expected a number from 1": camera_with(fx=0),
    "camera: world_to_camera: expected 16 numbers, found 2": camera_with(world_to_camera=[1, 2]),
    "camera: world_to_camera: expected a rotation": camera_with(world_to_camera=SHEARED),
    "world_to_camera: expected a rotation and": camera_with(world_to_camera=MIRRORED),
}


@pytest.mark.parametrize(("complaint", "change"), BAD.items(), ids=range(len(BAD)))
def test_a_field_that_is_wrong_is_named(complaint, change):
    with pytest.raises(BadMessage, match=complaint):
        parse(json.dumps(draw_message(AVATAR) | change), 1)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"draw"', "[" * 100_000, "1" * 5_000, b"\x00"])
def test_what_is_no_message_is_refused(text):
    with pytest.raises(BadMessage, match="expected"):
        parse(text, 1)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1" + "0" * 400, "1e400"])
def test_numbers_that_are_none_are_refused(number):
    text = json.dumps(draw_message(AVATAR)).replace("0.5", number)
    with pytest.raises(BadMessage, match=r"expression.jawOpen: expected a number"):
        parse(text, 1)


def test_films_that_are_too_long_or_of_two_sizes_are_refused():
    film = draw_message(AVATAR) | {"type": "record", "fps": 25}
    for frames, complaint in (
        ([], "frames: expected a list"),
        ([0] * (MOST_FRAMES + 1), "frames: expected a list of 1 to"),
        ([view_message(AVATAR), {}], r"frames\[1\]: expression"),
        ([view_message(AVATAR, 64), view_message(AVATAR, 32)], "one size"),
    ):
        with pytest.raises(BadMessage, match=complaint):
            parse(json.dumps(film | {"frames": frames}), 1)


def test_a_picture_carries_its_header():
    message = picture_message({"id": 3}, b"pixels")
    length = int.from_bytes(message[:4], "little")
    assert json.loads(message[4 : 4 + length]) == {"id": 3} and message[4 + length :] == b"pixels"
