"""Readers of packets: what applications write is read by its meaning, anything else is refused."""

import math
import struct

import numpy as np
import pytest

from rendering.driving.head_angles import angles_of
from rendering.driving.live.frame import BadPacket, Reading
from rendering.driving.live.ifacialmocap import read_ifacialmocap
from rendering.driving.live.live_link_udp import read_live_link_packet
from rendering.driving.live.osc import read_osc
from rendering.driving.live.receiver import PROTOCOLS
from rendering.driving.live.vmc import VmcReader
from tests.rendering.driving.live.packets import (
    GOOD,
    damaged,
    ifacialmocap_packet,
    live_link_packet,
    osc_bundle,
    osc_message,
    osc_text,
    quaternion,
    vmc_packet,
)


def yaw_pitch_roll(reading: Reading) -> list[float]:
    """Degrees."""
    return np.rad2deg(angles_of(reading.rotation[None])[0]).tolist()


@pytest.mark.parametrize("version", [1, 2])
def test_ifacialmocap_is_read_by_name(version):
    packet = ifacialmocap_packet(version, jawOpen=40, eyeBlink_L=70, mouthLeft=5, hapihapi=100)
    reading = read_ifacialmocap(packet)
    assert reading.coefficients == {"jawOpen": 0.4, "eyeBlinkLeft": 0.7, "mouthLeft": 0.05}
    # About x: the nose goes down; about y: to the right of the picture; about z: against the clock.
    assert yaw_pitch_roll(reading) == pytest.approx([20, 10, -5])


def test_ifacialmocap_over_tcp_and_negative_values():
    packet = ifacialmocap_packet(2, jawLeft=-3) + b"___iFacialMocap"
    assert read_ifacialmocap(packet).coefficients == {"jawLeft": -0.03}
    assert read_ifacialmocap(b"trackingStatus-1|") is None


@pytest.mark.parametrize(
    "packet",
    [
        b"jawOpen",
        b"jawOpen-wide|",
        b"jawOpen-nan|",
        b"jawOpen-inf|",
        b"jawOpen-99999|",
        b"=head#1,2|",
        b"=head#nan,0,0|",
        b"=head#1e9,0,0|",
        b"\xff\xfe",
    ],
)
def test_ifacialmocap_refuses(packet):
    with pytest.raises(BadPacket):
        read_ifacialmocap(packet)


def test_live_link_has_every_value_in_its_place():
    values = {"eyeBlinkLeft": 0.25, "jawOpen": 0.5, "tongueOut": 0.75}
    reading = read_live_link_packet(live_link_packet(values, (0.3, -0.2, 0.1)))
    assert {name: value for name, value in reading.coefficients.items() if value} == values
    assert len(reading.coefficients) == 52
    assert np.deg2rad(yaw_pitch_roll(reading)) == pytest.approx([0.3, -0.2, 0.1], abs=1e-6)


def test_live_link_without_a_face_says_nothing():
    packet = live_link_packet({})
    assert read_live_link_packet(packet[: -4 * 61 - 1]) is None


def test_live_link_refuses_what_is_cut_or_no_number():
    packet = live_link_packet({"jawOpen": 0.5})
    cut = [packet[:length] for length in range(len(packet)) if length != len(packet) - 4 * 61 - 1]
    for bad in (*cut, packet + b"\0", packet[:-4] + b"\0" * 900):
        with pytest.raises(BadPacket):
            read_live_link_packet(bad)
    for number in (math.nan, math.inf, 1e30):
        with pytest.raises(BadPacket, match="jawOpen"):
            read_live_link_packet(live_link_packet({"jawOpen": number}))
        with pytest.raises(BadPacket, match="head"):
            read_live_link_packet(live_link_packet({}, (0, number, 0)))


def test_a_device_name_of_another_length_is_refused():
    packet = bytearray(live_link_packet({}))
    for length in (-1, 2**31 - 1, 300):
        packet[41:45] = struct.pack(">i", length)
        with pytest.raises(BadPacket, match="name"):
            read_live_link_packet(bytes(packet))


def test_osc_types_and_nested_bundles():
    every = osc_text("/a") + osc_text(",ifsTFNhdb") + struct.pack(">if", -3, 0.5) + osc_text("four")
    every += struct.pack(">qd", 2**40, 0.25) + struct.pack(">i", 3) + b"xyz\0"
    packet = osc_bundle(osc_bundle(every), osc_message("/b"))
    first, second = read_osc(packet)
    assert first == ("/a", (-3, 0.5, "four", True, False, None, 2**40, 0.25, b"xyz"))
    assert second == ("/b", ())


def test_osc_refuses_bundles_without_end():
    packet = osc_message("/a")
    for _ in range(50):
        packet = osc_bundle(packet)
    with pytest.raises(BadPacket, match="bundles"):
        list(read_osc(packet))


def test_vmc_values_count_from_apply_on():
    read = VmcReader()
    assert read(osc_message("/VMC/Ext/Blend/Val", "jawOpen", 0.4)) is None
    assert read(osc_message("/VMC/Ext/Blend/Val", "BrowInnerUp", 0.6)) is None
    assert read(osc_message("/VMC/Ext/Root/Pos", "root", 0.0)) is None
    reading = read(osc_message("/VMC/Ext/Blend/Apply"))
    assert reading.coefficients == pytest.approx({"jawOpen": 0.4, "browInnerUp": 0.6})
    assert read(osc_message("/VMC/Ext/Blend/Apply")) is None


def test_vmc_presets_move_the_face_where_nothing_else_is_sent():
    reading = VmcReader()(vmc_packet(A=1.0, Blink=0.5))
    assert reading.coefficients["jawOpen"] == pytest.approx(0.6)
    assert reading.coefficients["eyeBlinkLeft"] == reading.coefficients["eyeBlinkRight"] == 0.5
    assert VmcReader()(vmc_packet(A=1.0, jawOpen=0.1)).coefficients == pytest.approx({"jawOpen": 0.1})


def test_vmc_bones_turn_as_the_head_does():
    """Unity: positive about y turns a person that looks along z to its own right, the left of the picture."""
    degrees = math.radians(20)
    assert yaw_pitch_roll(VmcReader()(vmc_packet(quaternion(1, degrees)))) == pytest.approx(
        [-20, 0, 0], abs=1e-4
    )
    # About x, z goes to -y: the nose goes down.
    assert yaw_pitch_roll(VmcReader()(vmc_packet(quaternion(0, degrees)))) == pytest.approx(
        [0, 20, 0], abs=1e-4
    )
    # About z, x goes to y: the own right ear, on the left of the picture, goes up; that is with the clock.
    assert yaw_pitch_roll(VmcReader()(vmc_packet(quaternion(2, degrees)))) == pytest.approx(
        [0, 0, -20], abs=1e-4
    )


def test_neck_and_head_turn_together():
    read = VmcReader()
    read(osc_message("/VMC/Ext/Bone/Pos", "Neck", 0.0, 0.0, 0.0, *quaternion(1, -0.2)))
    reading = read(osc_message("/VMC/Ext/Bone/Pos", "Head", 0.0, 0.0, 0.0, *quaternion(1, -0.1)))
    assert np.deg2rad(yaw_pitch_roll(reading)[0]) == pytest.approx(0.3, abs=1e-5)


@pytest.mark.parametrize(
    "packet",
    [
        osc_message("/VMC/Ext/Blend/Val", "jawOpen"),
        osc_message("/VMC/Ext/Blend/Val", "jawOpen", math.nan),
        osc_message("/VMC/Ext/Blend/Val", "jawOpen", 1e30),
        osc_message("/VMC/Ext/Blend/Val", 1.0, 1.0),
        osc_message("/VMC/Ext/Bone/Pos", "Head", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        osc_message("/VMC/Ext/Bone/Pos", "Head", 0.0, 0.0, 0.0, math.inf, 0.0, 0.0, 1.0),
        osc_message("/VMC/Ext/Bone/Pos", "Head", 0.0),
        osc_text("no address"),
        osc_text("/a") + osc_text(",q"),
        osc_text("/a") + osc_text(",b") + struct.pack(">i", 2**31 - 1),
        b"#bundle\0",
        osc_bundle(b"/a\0\0")[:-1],
        b"/a",
        b"",
    ],
)
def test_vmc_refuses(packet):
    with pytest.raises(BadPacket):
        VmcReader()(packet)


def test_names_without_apply_do_not_fill_the_memory():
    read = VmcReader()
    with pytest.raises(BadPacket, match="Apply"):
        for number in range(5_000):
            read(osc_message("/VMC/Ext/Blend/Val", f"name{number}", 0.5))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_damaged_packet_is_read_or_refused(name):
    """Whatever arrives: finite numbers and a rotation, None, or BadPacket; never anything else."""
    read = PROTOCOLS[name].make_reader()
    assert read(GOOD[name]).coefficients == pytest.approx(
        {"jawOpen": 0.4, "eyeBlinkLeft": 0.7}
        | {key: 0.0 for key in read(GOOD[name]).coefficients if key not in ("jawOpen", "eyeBlinkLeft")}
    )
    num_refused = 0
    for packet in damaged(GOOD[name], seed=5, count=4_000):
        try:
            reading = read(packet)
        except BadPacket:
            num_refused += 1
            continue
        if reading is None:
            continue
        assert all(abs(value) <= 10 for value in reading.coefficients.values())
        if reading.rotation is not None:
            assert np.allclose(reading.rotation @ reading.rotation.T, np.eye(3), atol=1e-6)
            assert np.linalg.det(reading.rotation) > 0
    assert num_refused > 1_000
