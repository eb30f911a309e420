"""Who is connected: each page with what it asked for last, and what is on its way to it.

Nobody waits for a slow page: a thread of its own sends what lies in its outbox, and a page that has not taken
its last picture yet is not drawn another one.
"""

import contextlib
import json
import threading
from collections import deque
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from viewing.messages import Draw, picture_message

# Messages; a page that takes none of them is gone.
MOST_WAITING = 256


class Client:
    """One page. Threads may call its methods as they like."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        # What is sent, each with the key under which a later one takes its place, or None.
        self._outbox: deque[tuple[Any, str | bytes]] = deque()
        self._changed = threading.Condition()
        self._request: Draw | None = None
        self._pictures_on_their_way = 0
        self._is_open = True
        self._sender = threading.Thread(target=self._send_all, name="viewer-sender", daemon=True)
        self._sender.start()

    @property
    def is_open(self) -> bool:
        return self._is_open

    def ask(self, request: Draw) -> None:
        """The latest request wins."""
        with self._changed:
            self._request = request

    def take_request(self) -> Draw | None:
        """What it waits for, if it is ready for a picture."""
        with self._changed:
            if self._pictures_on_their_way or not self._is_open:
                return None
            request, self._request = self._request, None
            return request

    def greet(self, avatars: list[dict[str, Any]], **offers: Any) -> None:
        """Tell who has just come what is on show, and what is offered."""
        self.tell(type="welcome", avatars=avatars, **offers)

    def tell(self, **message: Any) -> None:
        """Send a message in JSON."""
        self._put(json.dumps(message))

    def announce(self, **message: Any) -> None:
        """Send what is for everybody who looks on."""
        self.tell(**message)

    def tell_newest(self, key: Any, **message: Any) -> None:
        """Send a message in JSON, in place of one of the same key that has not left yet."""
        self._put(json.dumps(message), key)

    def send_picture(self, header: dict[str, Any], picture: bytes) -> None:
        """Send a picture with what is to be known of it."""
        self._put(picture_message(header, picture))

    def drain(self, seconds: float) -> None:
        """Wait until all has been sent, but no longer."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._outbox and self._is_open), seconds)

    def close(self) -> None:
        """Nothing is sent any more."""
        with self._changed:
            self._is_open = False
            self._outbox.clear()
            self._changed.notify_all()

    def _put(self, message: str | bytes, key: Any = None) -> None:
        with self._changed:
            if not self._is_open:
                return
            # The first one may be on its way already.
            waiting = range(1, len(self._outbox)) if key is not None else ()
            place = next((i for i in waiting if self._outbox[i][0] == key), None)
            if place is not None:
                self._outbox[place] = key, message
                return
            if len(self._outbox) >= MOST_WAITING:
                self._is_open = False
            else:
                self._outbox.append((key, message))
                self._pictures_on_their_way += isinstance(message, bytes)
            self._changed.notify_all()

    def _send_all(self) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._outbox or not self._is_open)
                    if not self._is_open:
                        break
                    _, message = self._outbox[0]
                self._connection.send(message)
                with self._changed:
                    if self._outbox:
                        self._outbox.popleft()
                    self._pictures_on_their_way -= isinstance(message, bytes)
                    self._changed.notify_all()
                self.on_ready()
        self.close()
        self._connection.close()

    def on_ready(self) -> None:
        """Called when a picture has left; the desk puts its own here."""
