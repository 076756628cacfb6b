"""The virtual wire takes the time a wire takes and injects exactly the faults it is asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.hardware import load_model, load_robot
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.parser import StatusParser
from retort.hardware.virtual import Faults, LockstepClock, LockstepPort, RigidPlant, VirtualRobot
from retort.hardware.virtual.faults import Corrupt, Drop, Silence
from retort.hardware.virtual.injection import burst

BYTE = 1e-5  # [s] at 1 Mbit/s
SERVO = load_model("xl330-m077")


def ask(rig, packet: bytes, fast_length: int = 0) -> list:
    rig.port.write(packet)
    return StatusParser(fast_length).feed(rig.port.read(1000, rig.clock.now() + 0.05))


def test_a_ping_takes_wire_time(rig):
    rig.port.write(codec.ping(1))
    assert len(rig.port.read(14, 1.0)) == 14
    assert rig.clock.now() == pytest.approx((10 + 14) * BYTE)


def test_bytes_arrive_one_by_one(rig):
    rig.port.write(codec.ping(1))
    assert rig.port.read(14, 13.5 * BYTE) == codec.HEADER[:3]
    assert rig.clock.now() == pytest.approx(13.5 * BYTE)
    assert len(rig.port.read(14, 1.0)) == 11


def test_return_delay_is_waited_for(rig):
    rig.bus.line.write(1, SERVO, "return_delay", 250)
    start = rig.clock.now()
    rig.port.write(codec.ping(1))
    rig.port.read(14, 1.0)
    assert rig.clock.now() - start == pytest.approx(24 * BYTE + 500e-6)


@pytest.mark.parametrize("build", [codec.sync_read, codec.fast_sync_read])
def test_sync_reads_answer_in_the_order_asked(rig, build):
    answers = ask(rig, build([2, 10, 1], 120, 27), 27)
    assert [answer.id for answer in answers] == [2, 10, 1]
    assert all(len(answer.data) == 27 for answer in answers)


@pytest.mark.parametrize("build", [codec.sync_read, codec.fast_sync_read])
@pytest.mark.parametrize("silent", [0, 1, 2])
def test_a_silent_device_loses_everything_behind_it(make_rig, build, silent):
    names, ids = ("imu", "left_wheel", "right_wheel"), [10, 1, 2]
    rig = make_rig(Faults(Silence(device=names[silent])))
    assert [a.id for a in ask(rig, build(ids, 120, 27), 27)] == ids[:silent]


def test_a_broadcast_ping_is_answered_by_all(rig):
    assert [answer.id for answer in ask(rig, codec.ping(codec.BROADCAST))] == [1, 2, 10]


def test_a_broadcast_write_is_obeyed_and_not_answered(rig):
    assert ask(rig, codec.write(codec.BROADCAST, 65, b"\x01")) == []
    assert [servo.registers["led"] for servo in rig.virtual.servos] == [1, 1]


def test_a_damaged_instruction_is_not_obeyed(rig):
    packet = bytearray(codec.write(1, 65, b"\x01"))
    packet[-3] ^= 4
    assert ask(rig, bytes(packet)) == []
    assert rig.virtual.servos[0].registers["led"] == 0


def test_a_device_at_another_baud_rate_is_deaf(rig):
    rig.bus.line.write(1, SERVO, "baud_rate", 1)
    assert rig.bus.line.ping(1) is None
    assert rig.bus.line.ping(2) is not None


def test_silence_ends(make_rig):
    rig = make_rig(Faults(Silence(device="left_wheel", at=1.0, until=2.0)))
    heard = []
    for time in (0.5, 1.5, 2.5):
        rig.clock.sleep_until(time)
        heard.append(rig.bus.line.ping(1, attempts=1) is not None)
    assert heard == [True, False, True]


@pytest.mark.parametrize("kind", [Drop, Corrupt])
def test_single_answers_lost_are_those_injected(make_rig, kind):
    rig = make_rig(Faults(kind(rate=0.1)), seed=3)
    lost = sum(rig.bus.line.ping(1, attempts=1) is None for _ in range(500))
    counts = rig.virtual.fault_counts
    assert lost == (counts.dropped if kind is Drop else counts.corrupted)
    assert 20 <= lost <= 80


def test_a_seed_gives_the_same_faults_again(make_rig):
    def heard(seed: int) -> list[bool]:
        rig = make_rig(Faults(Drop(rate=0.2), Corrupt(rate=0.1)), seed=seed)
        return [rig.bus.line.ping(1, attempts=1) is not None for _ in range(100)]

    assert heard(1) == heard(1)
    assert heard(1) != heard(2)


@given(st.binary(min_size=2, max_size=80), st.integers(0, 2**32))
def test_a_burst_is_damage_within_sixteen_bits(data, seed):
    damaged = burst(data, np.random.default_rng(seed))
    difference = int.from_bytes(data, "little") ^ int.from_bytes(damaged, "little")
    assert difference != 0
    assert (difference // (difference & -difference)).bit_length() <= 16


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_rate_that_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match="probability"):
        Drop(rate=value)


def test_an_adapter_with_echo_gives_the_host_its_own_bytes_first(make_rig, robot):
    echoing = dataclasses.replace(robot.line[0], echo=True)
    rig = make_rig(robot=dataclasses.replace(robot, line=(echoing,)))
    packet = codec.ping(1)
    rig.port.write(packet)
    heard = rig.port.read(10 + 14, 1.0)
    assert heard.startswith(packet)
    assert len(heard) == 10 + 14
    assert rig.clock.now() == pytest.approx((10 + 14) * BYTE)


@pytest.mark.parametrize(("pause", "heard"), [(1.4e-3, True), (1.6e-3, False)])
def test_a_packet_with_a_long_pause_within_is_forgotten(rig, pause, heard):
    packet = codec.ping(1)
    rig.port.write(packet[:5])
    rig.clock.sleep_until(rig.clock.now() + 5 * BYTE + pause)
    assert bool(ask(rig, packet[5:])) is heard
    rig.clock.sleep_until(rig.clock.now() + 0.01)
    assert ask(rig, packet)


def test_lines_of_one_robot_share_its_time_and_nothing_else(robot):
    other = dataclasses.replace(robot.line[0], name="other", baud=3_000_000)
    joints = (robot.joint[0], dataclasses.replace(robot.joint[1], line="other", id=1))
    two = dataclasses.replace(robot, line=(*robot.line, other), joint=joints)
    virtual = VirtualRobot(two, RigidPlant(two))
    clock = LockstepClock(virtual)
    ports = [LockstepPort(virtual, clock, name) for name in ("main", "other")]
    for port in ports:
        port.write(codec.ping(1))
    assert len(ports[1].read(14, 1.0)) == 14
    assert clock.now() == pytest.approx(24 * BYTE / 3)
    assert len(ports[0].read(14, 1.0)) == 14
    assert clock.now() == pytest.approx(24 * BYTE)
    with pytest.raises(ValueError, match="main, other; name one"):
        _ = virtual.line


def test_events_run_at_their_time(rig):
    seen = []
    rig.virtual.schedule(0.25, lambda: seen.append(rig.virtual.time))
    rig.virtual.schedule(0.1, lambda: seen.append(rig.virtual.time))
    rig.clock.sleep_until(0.2)
    assert seen == [0.1]
    rig.clock.sleep_until(1.0)
    assert seen == [0.1, 0.25]


instruction = st.one_of(st.sampled_from(list(codec.Instruction)), st.integers(0, 255))
word = st.one_of(st.integers(0, 160), st.integers(0, 0xFFFF)).map(lambda n: n.to_bytes(2, "little"))
parameters = st.one_of(
    st.binary(max_size=60),
    st.tuples(word, word, st.binary(max_size=30)).map(b"".join),
    st.tuples(word, word, st.lists(st.sampled_from([1, 2, 10, 3])).map(bytes)).map(b"".join),
)
packets = st.tuples(st.sampled_from([1, 2, 10, 3, codec.BROADCAST]), instruction, parameters)


@given(st.lists(st.one_of(st.binary(max_size=40), packets), max_size=12))
def test_no_host_can_bring_the_devices_down(sent):
    robot = load_robot("balancer")
    virtual = VirtualRobot(robot, RigidPlant(robot))
    for data in sent:
        virtual.write(data if isinstance(data, bytes) else codec.frame(*data))
        virtual.advance(virtual.time + 0.02)
        virtual.line.take(virtual.time)
    for servo in virtual.servos:
        for name, register in servo.table.registers.items():
            assert register.access == "r" or register.allows(servo.registers[name]) or servo.tripped
