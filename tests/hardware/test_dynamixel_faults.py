"""What a balancer's bus makes of answers that are silent, late, stale, lost or damaged."""

from __future__ import annotations

import pytest
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.parser import InstructionParser
from retort.hardware.virtual import Faults
from retort.hardware.virtual.faults import Corrupt, Delay, Drop, Silence

NAMES = ("imu", "left_wheel", "right_wheel")


@pytest.mark.parametrize("silent", range(3))
@pytest.mark.parametrize("fast", [True, False])
def test_a_silent_device_keeps_the_prefix_before_it(make_rig, silent, fast):
    rig = make_rig(Faults(Silence(device=NAMES[silent], at=1.0)))
    rig.set_firmware(52 if fast else 45)
    rig.ready()
    rig.clock.sleep_until(1.0)
    deadline = rig.clock.now() + 0.003
    state = rig.bus.read(deadline)
    assert rig.valid(state) == tuple(index < silent for index in range(3))
    assert rig.clock.now() == pytest.approx(deadline)
    outcome = [rig.bus.counters[name] for name in NAMES]
    assert [c.answered for c in outcome] == [int(i < silent) for i in range(3)]
    assert [c.missing for c in outcome] == [int(i == silent) for i in range(3)]
    assert [c.lost_in_tail for c in outcome] == [int(i > silent) for i in range(3)]


def test_old_firmware_is_read_with_plain_sync_read(make_rig):
    rig = make_rig()
    rig.set_firmware(45)
    rig.ready()
    assert all(rig.valid(state) == (True, True, True) for state in rig.reads(20))
    sent = b"".join(data for _, way, data in rig.bytes if way == "out")
    asked = {packet.instruction for packet in InstructionParser().feed(sent)}
    assert codec.Instruction.SYNC_READ in asked
    assert codec.Instruction.FAST_SYNC_READ not in asked


@pytest.mark.parametrize("ticks", [0.5, 1.0, 1.02, 1.1, 1.5, 2.0, 2.3])
@pytest.mark.parametrize("late", NAMES)
@pytest.mark.parametrize("fast", [True, False])
def test_a_late_answer_is_never_used_as_a_later_ticks(make_rig, robot, ticks, late, fast):
    """Shafts turn, so that every tick has its own position; a stale one would show."""
    start, period = 1.0, robot.period
    delay = Delay(device=late, at=start, until=start + 1e-3, seconds=ticks * period)
    rig = make_rig(Faults(delay), friction=0.0, damping=0.0)
    rig.set_firmware(52 if fast else 45)
    rig.bus.identify()
    rig.clock.sleep_until(start)
    speed = 20.0
    rig.plant.turn(0, 0.0, speed)
    rig.plant.turn(1, 0.0, -speed)
    states = rig.reads(8)
    assert rig.virtual.fault_counts.delayed == 1
    assert not rig.valid(states[0])[NAMES.index(late)]
    for state in states:
        truth = speed * (state.time - start)
        for joint in range(2):
            if state.joint_valid[joint]:
                assert state.joint_position[joint] == pytest.approx(truth, abs=0.02)
    assert rig.valid(states[-1]) == (True, True, True)


def test_a_stale_frame_before_the_fresh_one_is_passed_over(make_rig):
    delay = Delay(device="imu", at=1.0, until=1.001, seconds=0.0105)
    rig = make_rig(Faults(delay))
    rig.bus.identify()
    rig.clock.sleep_until(1.0)
    first, second = rig.reads(2)
    assert rig.valid(first) == (False, False, False)
    # The stale frame ends within the second read's budget; the fresh one follows it.
    assert rig.valid(second) == (True, True, True)
    (third,) = rig.reads(1)
    assert rig.valid(third) == (True, True, True)


def test_a_stale_frame_alone_in_a_read_leaves_it_invalid(make_rig):
    delay = Delay(device="imu", at=1.0, until=1.001, seconds=0.0128)
    rig = make_rig(Faults(delay))
    rig.bus.identify()
    rig.clock.sleep_until(1.0)
    _, second = rig.reads(2)
    assert rig.valid(second) == (False, False, False)
    assert [rig.bus.counters[name].late for name in NAMES] == [1, 1, 1]


def test_a_rebooted_servo_stays_invalid(rig):
    rig.ready()
    rig.virtual.servos[1].reboot(rig.clock.now())
    rig.clock.sleep_until(rig.clock.now() + 1.0)
    assert all(rig.valid(state) == (True, True, False) for state in rig.reads(10))
    rig.bus.identify()
    assert all(rig.valid(state) == (True, True, True) for state in rig.reads(10))


def test_a_device_clock_may_drift(rig):
    rig.ready()
    servo = rig.virtual.servos[0]
    exact = servo.tick
    servo.tick = lambda time: exact(time * 1.004)
    rig.bus.identify()
    assert all(rig.valid(state) == (True, True, True) for state in rig.reads(1000))


def test_drops_are_counted_as_injected(make_rig):
    rig = make_rig(Faults(Drop(rate=0.02)), seed=5)
    rig.reads(1000)
    counters = rig.bus.counters
    assert sum(c.missing for c in counters.values()) == rig.virtual.fault_counts.dropped > 20
    assert sum(c.corrupt + c.late for c in counters.values()) == 0
    for c in counters.values():
        assert c.asked == 1000 == c.answered + c.missing + c.lost_in_tail


def test_corruptions_are_counted_as_injected(make_rig):
    """In plain sync read every answer stands alone, so each injected burst is one corrupt one."""
    rig = make_rig(Faults(Corrupt(rate=0.02)), seed=5)
    rig.set_firmware(45)
    rig.bus.identify()
    before = rig.virtual.fault_counts.corrupted
    rig.reads(1000)
    injected = rig.virtual.fault_counts.corrupted - before
    assert sum(c.corrupt for c in rig.bus.counters.values()) == injected > 20


def test_a_corrupt_block_of_a_fast_sync_read_costs_those_behind_it(make_rig):
    rig = make_rig(Faults(Corrupt(rate=0.02)), seed=5)
    for state in rig.reads(1000):
        got = rig.valid(state)
        assert got == tuple(sorted(got, reverse=True))
    counters = rig.bus.counters.values()
    corrupt, tail = (sum(getattr(c, key) for c in counters) for key in ("corrupt", "lost_in_tail"))
    # A second burst behind the first of the same frame is lost in its tail.
    injected = rig.virtual.fault_counts.corrupted
    assert 20 < corrupt <= injected <= corrupt + tail
    assert sum(c.missing + c.late for c in counters) == 0
