"""The desk alone, with a client that only writes down what it is told."""

import json

from tests.viewing.avatars import draw_message, make_avatar, view_message
from viewing.desk import Desk
from viewing.exhibit import Exhibit
from viewing.messages import parse


class Listener:
    """Hears what a page would."""

    def __init__(self):
        self.heard = []

    def tell(self, **message):
        self.heard.append(message)

    def greet(self, avatars, **offers):
        self.tell(type="welcome")

    def tell_newest(self, key, **message):
        self.tell(**message)

    announce = tell

    def take_request(self):
        return None


def test_nothing_is_said_before_the_welcome():
    """A face that arrives while the first page is being welcomed, and a calibration after that."""

    class Slow(Exhibit):
        def description(self):
            desk.tell_pages("live", type="live")
            desk.announce("state", type="calibration", state="observing")
            return super().description()

    desk = Desk([Slow("a", make_avatar())])
    page = Listener()
    desk.announce("state", type="calibration", state="none")
    desk.enter(page)
    desk.round()
    desk.tell_pages("live", type="live")
    assert [message["type"] for message in page.heard] == ["welcome", "calibration", "live"]
    assert page.heard[1]["state"] == "observing"


def test_a_film_for_which_memory_does_not_suffice_is_given_up_and_the_next_one_made():
    class Small(Exhibit):
        def picture(self, look, moment):
            if moment.camera.width > 100:
                raise RuntimeError("CUDA out of memory.\nTried to allocate")
            return super().picture(look, moment)

    avatar, page = make_avatar(), Listener()
    desk = Desk([Small("a", avatar)], publish_film=lambda film: "/films/a.mp4")
    desk.enter(page)
    for size in (128, 64):
        order = draw_message(avatar) | {"type": "record", "fps": 25, "frames": [view_message(avatar, size)]}
        desk.receive(page, parse(json.dumps(order), 1))
        while desk.round():
            pass
    said = [message.get("message") or message["type"] for message in page.heard]
    refused = "this film cannot be made: CUDA out of memory."
    assert said == ["welcome", refused, "film_cancelled", "filming", "film"]
