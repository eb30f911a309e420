"""What a browser gets: files of web/ from a fixed table, with headers that let nothing else in."""

from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from websockets.datastructures import Headers
from websockets.http11 import Response

WEB = Path(__file__).resolve().parent.parent / "web"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Page(NamedTuple):
    """What lies under one address."""

    content_type: str
    content: bytes
    # What a browser saves it as; "": it shows it.
    file_name: str = ""


def static_pages() -> dict[str, Page]:
    """The files of web/ as they are now: no path of a request is ever looked up on the disk."""
    pages = {
        f"/{path.relative_to(WEB).as_posix()}": Page(_TYPES[path.suffix], path.read_bytes())
        for path in sorted(WEB.rglob("*"))
        if path.suffix in _TYPES
    }
    return pages | {"/": pages["/viewer/index.html"]}


def response(status: HTTPStatus, content: str | bytes, extra: dict[str, str] | None = None) -> Response:
    """An answer that is complete."""
    if isinstance(content, str):
        content = content.encode() + b"\n"
    headers = Headers({"Content-Type": "text/plain; charset=utf-8"} | _HEADERS | (extra or {}))
    headers["Content-Length"] = str(len(content))
    headers["Connection"] = "close"
    return Response(status.value, status.phrase, headers, content)
