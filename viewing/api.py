"""A program that drives an avatar by `viewer.py --serve`: what it has set, and the pictures it waits for.

Each program has a face, a head pose and a camera of its own; what it sets of face and pose goes to the
viewer's pages too, unless it says otherwise. Every picture is of the state in which it was asked for, and all
of them are answered, in order.
"""

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from websockets.sync.server import ServerConnection

from viewing.api_messages import (
    VERSION,
    Hello,
    RequestPicture,
    SetCamera,
    SetCoefficients,
    SetHeadPose,
    orbited,
    parse_api,
)
from viewing.checks import BadMessage
from viewing.clients import Client
from viewing.messages import Draw, Look, Moment

if TYPE_CHECKING:
    from viewing.desk import Desk

# Pictures that wait for their turn; what is asked for beyond is refused.
MOST_REQUESTS = 16
# Names that the avatar does not know and of which the program is told.
MOST_NOTED = 1_000
# What a program learns of an avatar.
_TOLD = ("name", "coefficients", "neutral", "ranges", "arkit", "camera", "modes")


class ApiClient(Client):
    """One program."""

    def __init__(self, connection: ServerConnection, desk: "Desk") -> None:
        self._desk = desk
        self._requests: deque[Draw] = deque()
        self._avatars: list[dict[str, Any]] | None = None
        self._waits_for_hello = False
        self._choice = Hello(avatar=0, show=True)
        self._expression: dict[str, float] = {}
        self._turn: np.ndarray | None = None
        self._camera = SetCamera(None, 512, 512, yaw=0.0, pitch=0.0, zoom=1.0, background=(0.0, 0.0, 0.0))
        self._unknown: set[str] = set()
        super().__init__(connection)

    def greet(self, avatars: list[dict[str, Any]], **offers: Any) -> None:
        """Nothing is said before the program has said hello."""
        with self._changed:
            self._avatars = [{name: avatar[name] for name in _TOLD} for avatar in avatars]
            is_due, self._waits_for_hello = self._waits_for_hello, False
        if is_due:
            self._answer_hello()
        if self._expression or self._turn is not None:
            # Set before anybody could know what is at rest.
            self._show()

    def announce(self, **message: Any) -> None:
        """What is for pages is not for programs."""

    def tell_newest(self, key: Any, **message: Any) -> None:
        """Nor is this."""

    def hear(self, text: str | bytes) -> None:
        """Take in what the program says. Raises BadMessage."""
        message = parse_api(text, len(self._desk.exhibits))
        if isinstance(message, Hello):
            self._choose(message)
        elif isinstance(message, SetCoefficients):
            self._set_coefficients(message)
        elif isinstance(message, SetHeadPose):
            self._turn = message.turn
            self._show()
        elif isinstance(message, SetCamera):
            self._camera = message
        elif isinstance(message, RequestPicture):
            self._ask(message)

    def take_request(self) -> Draw | None:
        """The oldest picture that it waits for, once the one before has left."""
        with self._changed:
            if self._pictures_on_their_way or not self._is_open or not self._requests:
                return None
            return self._requests.popleft()

    def _choose(self, choice: Hello) -> None:
        if choice.avatar != self._choice.avatar:
            self._expression = {}
        self._choice = choice
        with self._changed:
            # Avatars are read by the thread that draws.
            self._waits_for_hello = self._avatars is None
            is_due = not self._waits_for_hello
        if is_due:
            self._answer_hello()

    def _answer_hello(self) -> None:
        self.tell(type="hello", version=VERSION, avatar=self._choice.avatar, avatars=self._avatars)

    def _set_coefficients(self, message: SetCoefficients) -> None:
        known = set(self._desk.exhibits[self._choice.avatar].coefficients)
        values = {name: value for name, value in message.coefficients.items() if name in known}
        unknown = message.coefficients.keys() - known - self._unknown
        if message.coefficients and not values:
            raise BadMessage(
                f"set_coefficients: the avatar knows none of {', '.join(sorted(message.coefficients))[:200]}"
            )
        if unknown and len(self._unknown) < MOST_NOTED:
            # Once: a program may send them 60 times a second.
            self._unknown |= unknown
            said = f"the avatar does not know {', '.join(sorted(unknown))[:200]}: left out"
            self.tell(type="note", message=said)
        self._expression = values if message.replace else self._expression | values
        self._show()

    def _show(self) -> None:
        """Let pages show it, too; what is not set is at rest there."""
        if not self._choice.show or self._avatars is None:
            return
        avatar = self._avatars[self._choice.avatar]
        rest = dict(zip(avatar["coefficients"], avatar["neutral"], strict=True))
        self._desk.live.show(rest | self._expression, self._turn, "a program")

    def _ask(self, message: RequestPicture) -> None:
        number = self._choice.avatar
        camera = self._camera.camera or orbited(self._desk.exhibits[number].avatar.camera, self._camera)
        look = Look((number,), message.mode, self._camera.background, message.form)
        moment = Moment(camera, dict(self._expression), self._turn)
        with self._changed:
            is_full = len(self._requests) >= MOST_REQUESTS
            if not is_full:
                self._requests.append(Draw(message.id, look, moment, message.encoding))
        if is_full:
            said = f"{MOST_REQUESTS} pictures are waiting already: this one is left out"
            self.tell(type="error", message=said, id=message.id)
        self.on_ready()
