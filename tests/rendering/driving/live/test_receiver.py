"""The port on which faces arrive."""

import contextlib
import socket
import time

import numpy as np
import pytest

from rendering.driving.live.receiver import MOST_FRAMES_A_SECOND, PROTOCOLS, Receiver
from tests.rendering.driving.live.packets import GOOD, damaged, ifacialmocap_packet
from utils.errors import UserError


@contextlib.contextmanager
def listening(name: str):
    """A receiver on a free port, what it hands on, what it says, and how to send to it."""
    frames, said = [], []
    receiver = Receiver(PROTOCOLS[name], port=0)
    receiver.start(frames.append, said.append)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        try:
            yield receiver, frames, said, lambda data: sender.sendto(data, ("127.0.0.1", receiver.port))
        finally:
            receiver.close()


def wait_until(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_packet_becomes_a_face(name):
    with listening(name) as (_, frames, _, send):
        before = time.perf_counter()
        send(GOOD[name])
        wait_until(lambda: frames)
    assert frames[0].reading.coefficients["jawOpen"] == pytest.approx(0.4)
    assert frames[0].reading.rotation.shape == (3, 3)
    assert before < frames[0].captured < time.perf_counter()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_bad_packets_are_counted_and_said_once_and_the_next_good_one_is_read(name):
    with listening(name) as (receiver, frames, said, send):
        for number, packet in enumerate(damaged(GOOD[name], seed=1, count=300)):
            send(packet)
            if number % 20 == 0:
                time.sleep(0.002)
        # The largest that a datagram can be.
        send(b"x" * 65_000)
        wait_until(lambda: receiver.num_bad > 20)
        time.sleep(0.1)
        frames.clear()
        send(GOOD[name])
        wait_until(lambda: frames)
    assert frames[-1].reading.coefficients["jawOpen"] == pytest.approx(0.4)
    assert len(said) == 1 and "dropped" in said[0] and "127.0.0.1" in said[0]


def test_what_a_packet_does_not_mention_stays():
    with listening("ifacialmocap") as (_, frames, _, send):
        send(ifacialmocap_packet(jawOpen=40))
        wait_until(lambda: frames)
        send(b"cheekPuff-20|")
        wait_until(lambda: "cheekPuff" in frames[-1].reading.coefficients)
    assert frames[-1].reading.coefficients == {"jawOpen": 0.4, "cheekPuff": 0.2}
    assert np.array_equal(frames[-1].reading.rotation, frames[0].reading.rotation)


def test_of_a_flood_the_newest_faces_are_handed_on():
    with listening("ifacialmocap") as (receiver, frames, _, send):
        begun = time.monotonic()
        for number in range(2_000):
            send(ifacialmocap_packet(jawOpen=number % 100))

        def is_newest() -> bool:
            # Again and again: the system drops what comes while its buffer is full.
            send(ifacialmocap_packet(jawOpen=77))
            return bool(frames) and frames[-1].reading.coefficients["jawOpen"] == 0.77

        wait_until(is_newest)
        elapsed = time.monotonic() - begun
    assert len(frames) <= MOST_FRAMES_A_SECOND * elapsed + 2
    assert receiver.num_good > len(frames)


def test_it_listens_on_this_machine_unless_told_otherwise():
    receiver = Receiver(PROTOCOLS["vmc"], port=0)
    assert receiver.host == "127.0.0.1"
    receiver.close()


def test_a_port_in_use_and_a_foreign_address_are_one_line():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"--live_port {port}: in use by another program"):
            Receiver(PROTOCOLS["vmc"], port=port)
    with pytest.raises(UserError, match=r"--live_host 192\.0\.2\.1: cannot listen there"):
        Receiver(PROTOCOLS["vmc"], "192.0.2.1", 0)
    with pytest.raises(UserError, match=r"--live_host no\.such\.host\.invalid: no such address"):
        Receiver(PROTOCOLS["vmc"], "no.such.host.invalid", 0)
