"""The page's server: files from a fixed table, and a WebSocket for each page.

A page of somebody else in the same browser must not reach an avatar. So a WebSocket is opened only where its
Origin is the Host that it was asked for (programs send no Origin), and requests are answered only under names
of this machine: a foreign name that was made to lead here (DNS rebinding) is none.
"""

import contextlib
import errno
import ipaddress
import logging
import secrets
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from utils.errors import UserError
from viewing.api import ApiClient
from viewing.checks import BadMessage
from viewing.clients import Client
from viewing.desk import Desk
from viewing.messages import LARGEST_MESSAGE, parse
from viewing.pages import Page, response, static_pages
from viewing.recording import Film

DEFAULT_PORT = 8080
# So many ports after the wanted one are tried.
PORTS_TO_TRY = 50
# Of pages, and of programs that drive an avatar (docs/serve.md).
SOCKET_PATH, API_PATH = "/socket", "/api"
# Seconds.
LONGEST_GOODBYE = 2.0
# Films of a session that can still be fetched.
MOST_FILMS = 4


class ViewerServer:
    """Serves pages and hands what they say to a desk. Its threads never draw."""

    def __init__(self, listener: socket.socket, host: str) -> None:
        # Whether programs may drive avatars, and pages of which other servers.
        self.serves_api = False
        self.allowed_origins: frozenset[str] = frozenset()
        self.port: int = listener.getsockname()[1]
        self.host = host
        self.desk: Desk | None = None
        self._pages = static_pages()
        self._films: list[str] = []
        self._listener = listener

    @property
    def address(self) -> str:
        """What to open in a browser of this machine."""
        shown = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/"

    def publish(self, path: str, page: Page) -> None:
        """Put something under an address."""
        self._pages[path] = page

    def publish_film(self, film: Film) -> str:
        """Put a film where its page finds it, under a name that nobody guesses; the oldest go."""
        path = f"/films/{secrets.token_urlsafe(12)}.mp4"
        self._pages[path] = Page("video/mp4", film.path.read_bytes(), "gaussianhead.mp4")
        self._films.append(path)
        while len(self._films) > MOST_FILMS:
            del self._pages[self._films.pop(0)]
        return path

    @contextlib.contextmanager
    def serving(self, desk: Desk) -> Iterator[None]:
        """Answer while the block runs."""
        self.desk = desk
        # Who leaves in the middle of a sentence is no news.
        logger = logging.getLogger("viewer.connections")
        logger.setLevel(logging.CRITICAL)
        server = serve(
            self._converse,
            sock=self._listener,
            process_request=self._answer,
            compression=None,
            max_size=LARGEST_MESSAGE,
            close_timeout=1,
            logger=logger,
            server_header=None,
        )
        thread = threading.Thread(target=server.serve_forever, name="viewer-server", daemon=True)
        thread.start()
        try:
            yield
        finally:
            desk.close()
            # It waits for connections on which nothing was said yet, as browsers open some to be sooner.
            closing = threading.Thread(target=server.shutdown, name="viewer-closing", daemon=True)
            closing.start()
            closing.join(LONGEST_GOODBYE)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A file of the table; None lets a WebSocket open."""
        host = request.headers.get("Host", "")
        if not self._is_own_name(host):
            return response(HTTPStatus.MISDIRECTED_REQUEST, f"this server is not {host!r}")
        path = request.path.partition("?")[0]
        if path == SOCKET_PATH or (path == API_PATH and self.serves_api):
            allowed = self.allowed_origins if path == API_PATH else frozenset()
            origin = request.headers.get("Origin")
            if origin is not None and not _is_from(origin, host) and origin.lower() not in allowed:
                hint = "; --allow_origin lets them" if path == API_PATH else ""
                said = f"pages from {origin!r} may not ask for avatars here{hint}"
                return response(HTTPStatus.FORBIDDEN, said)
            return None
        page = self._pages.get(path)
        if page is None:
            return response(HTTPStatus.NOT_FOUND, "no such page")
        extra = {"Content-Type": page.content_type}
        if page.file_name:
            extra["Content-Disposition"] = f'attachment; filename="{page.file_name}"'
        return response(HTTPStatus.OK, page.content, extra)

    def _is_own_name(self, host: str) -> bool:
        """Whether a Host header names this machine: by number, as localhost, as --host or by its name."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in {"localhost", self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.endswith(".localhost")
        return True

    def _converse(self, connection: ServerConnection) -> None:
        """Talk with one page or program until it goes."""
        desk = self.desk
        if connection.request.path.partition("?")[0] == API_PATH:
            client = ApiClient(connection, desk)
            hear = client.hear
        else:
            client = Client(connection)

            def hear(text: str | bytes) -> None:
                desk.receive(client, parse(text, len(desk.exhibits)))

        desk.enter(client)
        try:
            with contextlib.suppress(ConnectionClosed):
                for text in connection:
                    try:
                        hear(text)
                    except BadMessage as error:
                        client.tell(type="error", message=str(error))
        finally:
            desk.leave(client)


def _is_from(origin: str, host: str) -> bool:
    """Whether a page comes from the server that it asks."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def listen(host: str, port: int | None) -> tuple[ViewerServer, str]:
    """Take a port: the one that is named, else the default one or the next free one; and a note on that.

    Raises UserError where the named one is in use, or nothing can be served at `host`.
    """
    wanted = DEFAULT_PORT if port is None else port
    listener = _listener(host, wanted)
    if listener is not None:
        return ViewerServer(listener, host), ""
    for other in range(wanted + 1, min(wanted + PORTS_TO_TRY, 65_535) + 1):
        listener = _listener(host, other)
        if listener is None:
            continue
        if port is None:
            return ViewerServer(listener, host), f"port {wanted} is in use: serving at {other}"
        listener.close()
        raise UserError(f"--port {port}: in use by another program; {other} is free")
    raise UserError(f"--port {wanted}: in use by another program, and so are the next {PORTS_TO_TRY}")


def _listener(host: str, port: int) -> socket.socket | None:
    """A socket that listens; None where the port is in use. Raises UserError."""
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][
            0
        ]
        return socket.create_server((host, port), family=family)
    except socket.gaierror as error:
        raise UserError(f"--host {host}: no such address ({error.strerror})") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        if error.errno == errno.EACCES:
            raise UserError(f"--port {port}: no right to serve there; ports from 1024 need none") from None
        raise UserError(f"--host {host}: cannot serve there: {error.strerror}") from None
