"""A UDP port on which a performer's face arrives. No packet stops it: bad ones are counted, and said once."""

import errno
import ipaddress
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from rendering.driving.live import ifacialmocap, live_link_udp, vmc
from rendering.driving.live.frame import BadPacket, LiveFrame, Reading
from utils.errors import UserError

# The largest that UDP carries.
_LARGEST_PACKET = 65_536
# Seconds; how soon it ends when told to.
_NAP = 0.2
# Frames a second that are handed on; of a flood the newest.
MOST_FRAMES_A_SECOND = 120


class Protocol(NamedTuple):
    """What is spoken on a port."""

    title: str
    port: int
    # Makes a reader; each receiver has its own, since some remember.
    make_reader: Callable[[], Callable[[bytes], Reading | None]]


PROTOCOLS = {
    "ifacialmocap": Protocol("iFacialMocap", ifacialmocap.PORT, lambda: ifacialmocap.read_ifacialmocap),
    "livelink": Protocol("Live Link Face", live_link_udp.PORT, lambda: live_link_udp.read_live_link_packet),
    "vmc": Protocol("VMC", vmc.PORT, vmc.VmcReader),
}


class Receiver:
    """Listens from the start on; `run` hands on what arrives."""

    def __init__(self, protocol: Protocol, host: str = "127.0.0.1", port: int | None = None) -> None:
        """Raises UserError where the port cannot be had."""
        self.protocol = protocol
        self.num_good = self.num_bad = 0
        self._read = protocol.make_reader()
        self._socket = _bound(host, protocol.port if port is None else port)
        self.host, self.port = self._socket.getsockname()[:2]
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{self.protocol.title} at UDP {self.host}:{self.port}"

    def start(self, submit: Callable[[LiveFrame], None], say: Callable[[str], None]) -> None:
        """Hand frames to `submit` and the first complaint to `say`, from a thread of its own."""
        self._thread = threading.Thread(
            target=self._run, args=(submit, say), name="live-receiver", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Let go of the port."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def _run(self, submit: Callable[[LiveFrame], None], say: Callable[[str], None]) -> None:
        known, rotation, is_new, last, arrived = {}, None, False, 0.0, 0.0
        while not self._is_over.is_set():
            if self._has_packet(0 if is_new else _NAP):
                packet, sender = self._socket.recvfrom(_LARGEST_PACKET)
                now = time.perf_counter()
                reading = self._reading(packet, sender, say)
                if reading is not None:
                    # What a packet does not mention is not zero: it stays.
                    known = known | reading.coefficients
                    rotation = rotation if reading.rotation is None else reading.rotation
                    is_new, arrived = True, now
            elif not is_new:
                continue
            now = time.perf_counter()
            if is_new and now - last >= 1 / MOST_FRAMES_A_SECOND:
                submit(LiveFrame(Reading(known, rotation), arrived, {"reading": now - arrived}))
                is_new, last = False, now
            elif is_new and not self._has_packet(0):
                self._is_over.wait(1 / MOST_FRAMES_A_SECOND - (now - last))

    def _has_packet(self, seconds: float) -> bool:
        return bool(select.select([self._socket], [], [], seconds)[0])

    def _reading(self, packet: bytes, sender: tuple, say: Callable[[str], None]) -> Reading | None:
        try:
            reading = self._read(packet)
        except BadPacket as error:
            self.num_bad += 1
            if self.num_bad == 1:
                say(f"{self.title}: a packet from {sender[0]} was dropped: {error}; further ones are counted")
            return None
        self.num_good += 1
        return reading


def _bound(host: str, port: int) -> socket.socket:
    """A UDP socket at an address of this machine. Raises UserError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        made = socket.socket(family, kind, protocol)
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"--live_host {host}: no such address ({error})") from None
    try:
        made.bind(address)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"--live_port {port}: in use by another program") from None
        if error.errno == errno.EACCES:
            raise UserError(f"--live_port {port}: no right to listen there") from None
        raise UserError(f"--live_host {host}: cannot listen there: {error.strerror}") from None
    return made


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
