"""A line of STS servos whose answers are late, lost, damaged or doubled, or that lost its power."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from retort.hardware.feetech import codec
from retort.hardware.feetech.driver import LENGTHS
from retort.hardware.feetech.parser import InstructionParser, StatusParser
from retort.hardware.readings import POSITION
from retort.hardware.virtual.faults import Corrupt, Delay, Drop, Duplicate, Garbage, Silence

from .feetech_rig import COUNT, PERIOD, Rig, flip, jumped, make_robot, with_byte


@pytest.fixture
def rig() -> Rig:
    return Rig(make_robot())


@pytest.mark.parametrize("ticks", [0.5, 1.0, 1.5, 2.0])
def test_a_late_answer_is_not_taken_for_the_next_ticks(ticks):
    late = Delay(device="joint1", at=0.2, until=0.21, seconds=ticks * PERIOD)
    rig = Rig(make_robot(), late)
    rig.driver.identify()
    rig.clock.sleep_until(0.185)
    seen = []
    for tick in range(19, 26):
        rig.clock.sleep_until(tick * PERIOD)
        rig.plant.turn(1, math.pi + 2.0 * tick * PERIOD)
        seen.append(rig.tick_now()[1])
        if seen[-1]:
            angle = -rig.si(POSITION)[1]
            assert angle == pytest.approx(2.0 * tick * PERIOD, abs=2 * COUNT)
    assert seen[0]
    assert not seen[1]
    assert seen[4:] == [True] * 3


def test_a_late_answer_that_meets_a_request_is_counted_late():
    late = Delay(device="joint1", at=0.2, until=0.21, seconds=PERIOD)
    rig = Rig(make_robot(), late).ready()
    rig.clock.sleep_until(0.199)
    for _ in range(6):
        rig.tick()
    counter = rig.counter(1)
    assert (counter.asked, counter.answered) == (6, 5)
    assert counter.late + counter.missing == 1


def test_a_clean_line_is_always_asked_the_same(rig):
    rig.ready()
    rig.port.writes.clear()
    for _ in range(20):
        rig.tick()
    assert len(set(rig.port.writes)) == 1


def test_a_single_damaged_bit_costs_one_reading_and_is_counted(rig):
    rig.ready()
    rig.tick()
    before = rig.readings.counts.copy()
    random = np.random.default_rng(0)
    for tick in range(100):
        rig.port.tamper = lambda data: flip(data, data[3] + 6, 2 * (data[3] + 4), random)
        assert rig.tick() == [True, False, True], tick
        rig.port.tamper = bytes
        assert rig.tick() == [True] * 3
        assert np.abs(rig.readings.counts - before).max() <= 2
    assert rig.counter(1).corrupt == 100
    assert [rig.counter(i).corrupt for i in (0, 2)] == [0, 0]


def test_a_damaged_length_costs_no_other_servo_its_reading(rig):
    rig.ready()
    for byte in (0, 1, 2, 3):  # header, id, length of the first answer
        rig.port.tamper = lambda data, byte=byte: with_byte(data, byte, 0x42)
        assert rig.tick() == [False, True, True]
        rig.port.tamper = bytes
        assert rig.tick() == [True] * 3


def test_a_jump_that_passes_the_checksum_is_not_believed(rig):
    rig.ready()
    rig.tick()
    rig.port.tamper = lambda data: jumped(data, 900)
    assert rig.tick() == [False, True, True]
    assert rig.si(POSITION)[0] == pytest.approx(0.0, abs=2 * COUNT)
    rig.port.tamper = bytes
    assert rig.tick() == [True] * 3
    assert (rig.counter(0).implausible, rig.counter(0).corrupt) == (1, 0)


def test_a_jump_that_stays_is_believed_at_the_third_reading(rig):
    rig.ready()
    rig.tick()
    rig.port.tamper = lambda data: jumped(data, 900)
    assert [rig.tick()[0] for _ in range(4)] == [False, False, True, True]
    assert rig.si(POSITION)[0] == pytest.approx(900 * COUNT, abs=2 * COUNT)


def test_after_silence_a_joint_may_be_elsewhere():
    gone = Silence(device="joint2", at=0.2, until=0.6)
    rig = Rig(make_robot(), gone).ready()
    rig.driver.torque_off_all()
    rig.clock.sleep_until(0.15)
    while rig.clock.now() < 0.55:
        rig.tick()
    rig.plant.turn(2, math.pi + 1.0)
    while rig.clock.now() < 0.8:
        rig.tick()
    assert rig.readings.joint_fresh.all()
    assert rig.si(POSITION) == pytest.approx([0.0, -0.1, 1.0], abs=2 * COUNT)


def test_a_servo_that_is_probed_last_gives_its_own_reading_when_it_is_back():
    rig = Rig(make_robot(), Silence(device="joint0", at=0.2, until=0.4))
    rig.driver.identify()
    rig.clock.sleep_until(0.19)
    orders = set()
    while rig.clock.now() < 0.7:
        rig.port.writes.clear()
        fresh = rig.tick()
        orders.add(tuple(rig.port.writes[0][7:-1]))
        angles = rig.si(POSITION)
        expected = np.array([0.0, -0.1, 0.2])
        assert angles[fresh] == pytest.approx(expected[fresh], abs=2 * COUNT)
    assert orders == {(1, 2, 3), (2, 3), (2, 3, 1)}
    assert fresh == [True] * 3


@pytest.mark.parametrize("silent", [0, 4, 11])
def test_one_silent_servo_costs_the_others_three_ticks_at_most(silent):
    rig = Rig(make_robot(12), Silence(device=f"joint{silent}", at=0.5)).ready()
    rig.clock.sleep_until(0.5)
    for tick in range(30):
        before = rig.clock.now()
        fresh = rig.tick()
        assert rig.clock.now() <= before + PERIOD + 0.4 * PERIOD + 1e-9
        assert fresh[:silent] == [True] * silent
        assert not fresh[silent]
        if tick >= 3:
            assert fresh[silent + 1 :] == [True] * (11 - silent)
    assert [rig.counter(k).lost_in_tail for k in range(12)] == [0] * (silent + 1) + [3] * (
        11 - silent
    )
    assert rig.counter(silent).missing >= 3


@pytest.mark.parametrize(
    ("fault", "injected", "counted"),
    [
        (Drop(rate=0.01), "dropped", "missing"),
        (Corrupt(rate=0.01), "corrupted", "corrupt"),
    ],
)
def test_on_a_bad_line_for_long_the_counters_say_what_was_injected(fault, injected, counted):
    rig = Rig(make_robot(), fault)
    while not all(rig.driver.torque_of(device, True) for device in rig.driver.devices):
        pass
    before = getattr(rig.virtual.fault_counts, injected)
    wave, lost = 0.0, 0
    for tick in range(2000):
        fresh = np.array(rig.tick())
        lost += int((~fresh).sum())
        error = np.abs(rig.si(POSITION) - wave)[fresh]
        assert tick < 100 or error.max(initial=0.0) < 0.1
        wave = 0.3 * math.sin(tick / 50)
        rig.driver.send(np.full(3, wave))
    counters = rig.driver.roll.counters.values()
    count = getattr(rig.virtual.fault_counts, injected) - before
    assert count > 30
    assert sum(getattr(counter, counted) for counter in counters) == count
    assert sum(counter.lost_in_tail for counter in counters) == lost - count
    assert sum(counter.asked - counter.answered for counter in counters) == lost


def test_an_adapter_that_echoes_is_understood():
    rig = Rig(make_robot(), echo=True)
    assert [report.problems for report in rig.driver.identify()] == [()] * 3
    rig.ready()
    for _ in range(5):
        assert rig.tick() == [True] * 3
        rig.driver.send(np.zeros(3))


def test_losses_of_twelve_servos_are_counted_one_by_one_as_injected():
    """One answer in a hundred lost and one damaged. Ten minutes of it: bench/bus_losses.py."""
    rig = Rig(make_robot(12), seed=5).ready()
    for fault in (Drop(rate=0.01), Corrupt(rate=0.01)):
        rig.virtual.inject(fault)
    injected, unbelieved = rig.virtual.fault_counts, 0
    for tick in range(1500):
        rig.clock.sleep_until(PERIOD * math.ceil(rig.clock.now() / PERIOD + 1e-6))
        lost = injected.dropped - rig.total("missing"), injected.corrupted - rig.total("corrupt")
        fresh, counted = rig.tick_now(), (rig.total("missing"), rig.total("corrupt"))
        assert (injected.dropped - counted[0], injected.corrupted - counted[1]) == lost, tick
        unbelieved += fresh.count(False)
        rig.driver.send(np.zeros(12))
    names = ("missing", "corrupt", "lost_in_tail", "implausible")
    assert unbelieved == sum(rig.total(name) for name in names)
    assert rig.total("implausible") < 10
    assert injected.dropped > 100
    assert injected.corrupted > 100
    assert rig.total("late") == 0


def test_any_one_bit_damaged_in_an_answer_of_any_length_is_noticed():
    block = bytes(range(100, 118))
    for length in LENGTHS:
        whole = codec.status(2, 0, block[:length])
        behind = codec.status(3, 0, block[:length])
        for bit in range(8 * len(whole)):
            damaged = (int.from_bytes(whole, "little") ^ 1 << bit).to_bytes(len(whole), "little")
            parser = StatusParser(*LENGTHS)
            got = parser.feed(damaged + behind) + parser.flush()
            assert got == [(3, 0, block[:length])], (length, bit)


def test_a_damaged_length_never_makes_an_answer_of_another_length_asked_for():
    random, parser = np.random.default_rng(0), StatusParser(*LENGTHS)
    for _ in range(300):
        block = random.bytes(18)
        for length, bit in itertools.product(LENGTHS, range(8)):
            whole = codec.status(2, 0, block[:length])
            damaged = with_byte(whole, 3, whole[3] ^ 1 << bit)
            parser.expect(*LENGTHS)
            got = parser.feed(damaged + codec.status(3, 0, block[:length])) + parser.flush()
            assert [answer.id for answer in got] == [3]


@pytest.mark.parametrize("fault", [Duplicate(device="joint1"), Garbage(device="joint1", size=16)])
def test_bytes_too_many_cost_no_servo_behind_them_its_reading(fault):
    rig = Rig(make_robot(6)).ready()
    rig.virtual.inject(fault)
    for _ in range(50):
        assert rig.tick() == [True] * 6


def test_an_alert_is_taken_over_from_a_reading_that_is_not_believed(rig):
    rig.ready()
    rig.tick()
    rig.servos[0].overload()
    rig.port.tamper = lambda data: jumped(data, 900)
    rig.clock.sleep_until(rig.clock.now() + 0.002)
    assert rig.tick() == [False, True, True]
    assert rig.readings.alert.tolist() == [True, False, False]


# Power lost for a moment


def goals_to(rig: Rig) -> set[int]:
    """The ids that goals were sent to since ``rig.port.writes`` was cleared."""
    return {
        packet.parameters[at]
        for packet in InstructionParser().feed(b"".join(rig.port.writes))
        if packet.instruction == codec.Instruction.SYNC_WRITE
        for at in range(2, len(packet.parameters), 3)
    }


def test_a_servo_that_lost_its_power_is_invalid_and_gets_no_goals_until_it_is_switched_on(rig):
    rig.ready()
    rig.tick()
    rig.virtual.power_cycle("joint1", 0.01)
    for _ in range(15):
        rig.tick()
        rig.driver.send(np.zeros(3))
    assert rig.virtual.device("joint1").listening(rig.clock.now())  # it answers again, limp
    rig.port.writes.clear()
    for _ in range(30):
        assert rig.tick() == [True, False, True]
        rig.driver.send(np.zeros(3))
    assert goals_to(rig) == {1, 3}
    assert not rig.servos[1].torque
    assert rig.counter(1).implausible > 20
    rig.driver.prepare()
    assert all(rig.driver.torque_of(device, True) for device in rig.driver.devices)
    assert rig.tick() == [True] * 3


def test_a_servo_that_was_only_silent_proves_it_and_goes_on(rig):
    rig.ready()
    rig.virtual.inject(Silence(device="joint1", at=rig.clock.now(), until=rig.clock.now() + 0.1))
    seen = []
    for _ in range(20):
        seen.append(rig.tick()[1])
        rig.port.writes.clear()
        rig.driver.send(np.zeros(3))
    assert not any(seen[:9])
    assert seen[-5:] == [True] * 5
    assert rig.counter(1).implausible == 1
    assert goals_to(rig) == {1, 2, 3}


def test_silence_shorter_than_a_boot_stops_no_goals(rig):
    rig.ready()
    rig.virtual.inject(Silence(device="joint1", at=rig.clock.now(), until=rig.clock.now() + 0.04))
    for _ in range(8):
        rig.tick()
        rig.port.writes.clear()
        rig.driver.send(np.zeros(3))
        assert goals_to(rig) == {1, 2, 3}
    assert rig.counter(1).implausible == 0
