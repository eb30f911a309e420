"""The desk: pages ask here, and one thread draws, one after the other.

Torch and numba are for one thread at a time, and during training it must be the one that trains, between
two iterations: so the desk has none of its own. Whoever owns the avatars calls `round`, as often as there is
time; every page gets its latest picture and every film one frame, which shares the time fairly.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from utils.errors import UserError
from viewing.clients import Client
from viewing.exhibit import Exhibit, encoded
from viewing.live import Live
from viewing.messages import Calibrate, Cancel, Draw, Message, Pause, Record
from viewing.recording import Film

# Seconds; how soon Ctrl-C is seen where nothing happens.
_NAP = 0.5


class Desk:
    """What pages wait for."""

    def __init__(
        self, exhibits: Sequence[Exhibit], publish_film: Callable[[Film], str] | None = None
    ) -> None:
        """`publish_film` puts a finished film where pages find it, and gives its address; None: no films."""
        self.exhibits = tuple(exhibits)
        self.publish_film = publish_film
        # Set while a page holds the training run; None: there is none to hold.
        self.paused: threading.Event | None = None
        # Faces that move now, and what is known of their latency.
        self.live = Live(self)
        self._clients: list[Client] = []
        # Not welcomed yet: that reads the avatar, which is for the thread that draws.
        self._arrivals: list[Client] = []
        self._films: dict[Client, Film] = {}
        # What everybody has been told, by type: those who come later hear it too.
        self._standing: dict[Any, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._something_to_do = threading.Event()

    # Called by the threads of the connections.

    def enter(self, client: Client) -> None:
        """Take in a page; it is welcomed in the next round."""
        client.on_ready = self._something_to_do.set
        with self._lock:
            self._clients.append(client)
            self._arrivals.append(client)
        self._something_to_do.set()

    def leave(self, client: Client) -> None:
        """Forget a page, and its film."""
        client.close()
        with self._lock:
            self._clients.remove(client)
            film = self._films.get(client)
            if self.paused is not None and not self._clients:
                # Nobody is left who could let the run go on.
                self.paused.clear()
        if film is not None:
            film.cancel()
        self._something_to_do.set()

    def receive(self, client: Client, message: Message) -> None:
        """Note what a page asks for."""
        if isinstance(message, Draw):
            client.ask(message)
        elif isinstance(message, Record):
            self._order_film(client, message)
        elif isinstance(message, Cancel):
            with self._lock:
                film = self._films.get(client)
            if film is not None:
                film.cancel()
        elif isinstance(message, Pause):
            self._pause(client, message.paused)
        elif isinstance(message, Calibrate):
            self.live.calibrate(client, message.reset)
        self._something_to_do.set()

    def _order_film(self, client: Client, order: Record) -> None:
        if self.publish_film is None:
            client.tell(type="error", message="no films while an avatar is in training; use viewer.py")
            return
        with self._lock:
            if client in self._films:
                client.tell(type="error", message="one film at a time; the one before is not done yet")
                return
            self._films[client] = Film(self.exhibits, order)

    def _pause(self, client: Client, paused: bool) -> None:
        if self.paused is None:
            client.tell(type="error", message="nothing to pause: no training run")
        elif paused:
            self.paused.set()
        else:
            self.paused.clear()

    def tell_pages(self, key: Any, **message: Any) -> None:
        """Tell every page what only counts until the next one of this key."""
        with self._lock:
            clients = [client for client in self._clients if client not in self._arrivals]
        for client in clients:
            client.tell_newest(key, **message)

    # Called by the thread that draws.

    def announce(self, key: Any, **message: Any) -> None:
        """Tell every page, and those who come later; a later message of the same key takes its place."""
        with self._lock:
            self._standing[key] = message
            clients = [client for client in self._clients if client not in self._arrivals]
        for client in clients:
            client.announce(**message)

    @property
    def num_pages(self) -> int:
        """How many look on."""
        return len(self._clients)

    def wait(self, seconds: float = _NAP) -> bool:
        """Wait until there is something to do, but no longer."""
        return self._something_to_do.wait(seconds)

    def round(self) -> bool:
        """Draw what every page waits for, and one frame of every film; returns whether there was anything."""
        self._something_to_do.clear()
        with self._lock:
            clients, films = list(self._clients), dict(self._films)
        has_drawn = self._welcome()
        for client in clients:
            if (request := client.take_request()) is not None:
                self._draw(client, request)
                has_drawn = True
        for client, film in films.items():
            self._go_on(client, film)
        return has_drawn or bool(films)

    def _welcome(self) -> bool:
        """Greet who has come. Until then it is told nothing: a page can do nothing with a face before."""
        with self._lock:
            arrivals = list(self._arrivals)
        if not arrivals:
            return False
        avatars = [exhibit.description() for exhibit in self.exhibits]
        for client in arrivals:
            is_film, is_run = self.publish_film is not None, self.paused is not None
            client.greet(avatars, films=is_film, pauses=is_run, live=self.live.title)
        with self._lock:
            self._arrivals = [client for client in self._arrivals if client not in arrivals]
            for client in arrivals:
                for message in self._standing.values():
                    client.announce(**message)
        return True

    def serve_until(self, is_over: Callable[[], bool]) -> None:
        """Draw until it is over."""
        while not is_over():
            if not self.round():
                self.wait()

    def close(self) -> None:
        """Give up films that are not done, and let pages hear the last word."""
        for film in self._films.values():
            film.close()
        for client in list(self._clients):
            client.drain(_NAP)

    def _draw(self, client: Client, request: Draw) -> None:
        camera = request.moment.camera
        for number in request.look.avatars:
            start = time.perf_counter()
            try:
                picture = self.exhibits[number].picture(request.look, request.moment)
            except RuntimeError as error:
                # Out of memory: the next, smaller one may fit.
                said = f"this picture cannot be drawn: {str(error).splitlines()[0]}"
                client.tell(type="error", message=said, id=request.id)
                return
            drawn = time.perf_counter()
            content = encoded(picture, request.encoding)
            done = time.perf_counter()
            header = {
                "id": request.id,
                "avatar": number,
                "width": camera.width,
                "height": camera.height,
                "mode": request.look.mode,
                "encoding": "png" if content.startswith(b"\x89PNG") else "jpeg",
                "seconds": round(done - start, 4),
            }
            stages = {"draw": drawn - start, "encode": done - drawn}
            if (latency := self.live.latency_of(request.live, stages, start)) is not None:
                header["latency"] = latency
            client.send_picture(header, content)

    def _go_on(self, client: Client, film: Film) -> None:
        """One frame of a film; at its end, the page is told where it lies."""
        answers: list[dict[str, Any]] = []
        try:
            if film.advance():
                client.tell(type="filming", done=film.num_done, total=film.num_frames)
                return
            if film.is_cancelled:
                answers.append(dict(type="film_cancelled"))
            else:
                answers.append(dict(type="film", url=self.publish_film(film), frames=film.num_frames))
        except (UserError, RuntimeError) as error:
            # Out of memory, too: whoever else looks on is served further.
            said = f"this film cannot be made: {str(error).splitlines()[0]}"
            answers += [dict(type="error", message=said), dict(type="film_cancelled")]
        film.close()
        # Before the page hears of it: it may order the next one at once.
        with self._lock:
            del self._films[client]
        for answer in answers:
            client.tell(**answer)
