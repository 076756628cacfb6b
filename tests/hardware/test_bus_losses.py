"""What lost, late and damaged answers cost a DYNAMIXEL line, and how they are counted."""

from __future__ import annotations

import numpy as np
import pytest
from retort.hardware import JointCommand
from retort.hardware.virtual.faults import (
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    Garbage,
    Overload,
    Silence,
)

from .many_servos import MOTION, Bench, robot_of, valid


@pytest.mark.parametrize("silent", [0, 4, 11])
def test_one_of_twelve_silent_costs_those_behind_it_three_ticks(silent):
    name = f"joint_{silent + 1}"
    bench = Bench(robot_of(read=MOTION), Silence(device=name, at=2.0)).ready()
    bench.clock.sleep_until(2.0)
    budget = bench.robot.read_fraction * bench.robot.period
    for _ in range(3):
        start = bench.clock.now()
        state = bench.read()
        assert bench.clock.now() == pytest.approx(start + budget)
        assert valid(state) == [joint < silent for joint in range(12)]
        bench.clock.sleep_until(start + bench.robot.period)
    others = [joint != silent for joint in range(12)]
    for state in bench.reads(50):
        assert valid(state) == others
    assert bench.bus.silent == (name,)


def test_a_device_that_comes_back_is_read_in_its_place_again():
    fault = Silence(device="joint_2", at=2.0, until=2.2)
    bench = Bench(robot_of(read=MOTION), fault).ready()
    bench.clock.sleep_until(2.0)
    states = bench.reads(50)
    assert all(valid(states[-1]))
    assert bench.bus.silent == ()


def test_ages_grow_from_the_last_fresh_reading():
    bench = Bench(robot_of(read=MOTION), Silence(device="joint_12", at=2.0)).ready()
    bench.clock.sleep_until(1.99)
    states = bench.reads(5)
    np.testing.assert_allclose([s.health.age[11] for s in states], 0.01 * np.arange(5), atol=1e-9)
    assert all(s.health.age[0] == 0.0 for s in states)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("values", [MOTION["values"], ["tick", *MOTION["values"]]])
@pytest.mark.parametrize("ticks", [0.5, 0.8, 1.0, 1.05, 1.2, 2.0, 2.1])
def test_a_late_answer_is_never_used_with_or_without_the_devices_clocks(values, ticks, fast):
    """Shafts turn, so that every tick has its own position; a stale one would show."""
    models = ("xl330-m288",) * 3
    delay = Delay(device="joint_2", at=2.0, until=2.001, seconds=ticks * 0.01)
    bench = Bench(robot_of(models, read={"values": values}), delay, friction=0.0, damping=0.0)
    if not fast:
        for servo in bench.virtual.servos:
            servo.registers["firmware"] = 45
    bench.bus.identify()
    bench.clock.sleep_until(2.0)
    for joint in range(3):
        bench.plant.turn(joint, 0.0, 20.0)
    states = bench.reads(8)
    assert not valid(states[0])[1]
    for state in states:
        truth = 20.0 * (state.time - 2.0)
        for position, fresh in zip(state.joint_position, valid(state), strict=True):
            if fresh:
                assert position == pytest.approx(truth, abs=0.03)
    assert all(valid(states[-1]))
    assert bench.sum_of("late") + bench.sum_of("missing") + bench.sum_of("lost_in_tail") > 0


def test_losses_are_counted_as_injected_and_every_goal_stands_in_its_servo():
    """One per cent lost and one per cent damaged, goals that move by the slew limit. Ten minutes of
    it: bench/bus_losses.py."""
    robot = robot_of(("xl330-m288",) * 6, read=MOTION, control_rate=50.0)
    bench = Bench(robot, seed=4, keep=False).ready()
    bench.virtual.inject(Drop(rate=0.01, at=bench.clock.now()))
    bench.virtual.inject(Corrupt(rate=0.01, at=bench.clock.now()))
    ticks, step = 1000, robot.safety.slew * robot.period
    unit = bench.virtual.servos[0].table.register("goal_position").unit
    start, goal = bench.clock.now(), np.zeros(6)
    first_losses = 0
    for tick in range(ticks):
        bench.clock.sleep_until(start + tick * robot.period)
        standing = [servo.registers["goal_position"] for servo in bench.virtual.servos]
        np.testing.assert_allclose(unit * np.array(standing), goal, atol=0.51 * unit)
        before = bench.virtual.fault_counts.dropped + bench.virtual.fault_counts.corrupted
        state = bench.read()
        after = bench.virtual.fault_counts.dropped + bench.virtual.fault_counts.corrupted
        assert all(valid(state)) == (after == before)
        first_losses += after > before
        goal = goal + (step if tick % 10 < 5 else -step)
        bench.bus.write(JointCommand(goal))
    counts = bench.virtual.fault_counts
    missing, corrupt, tail = map(bench.sum_of, ("missing", "corrupt", "lost_in_tail"))
    # Whatever goes wrong behind the first loss of a tick is lost in its tail.
    assert missing + corrupt == first_losses > 50
    assert missing <= counts.dropped <= missing + tail
    assert corrupt <= counts.corrupted <= corrupt + tail
    assert bench.sum_of("late") == bench.sum_of("implausible") == bench.sum_of("refused") == 0
    assert bench.sum_of("asked") == ticks * 6
    assert bench.bus.silent == ()


def test_a_refused_read_is_no_reading():
    bench = Bench(robot_of(("xl330-m288",) * 2, read=MOTION)).ready()
    servo = bench.virtual.servos[1]
    read = servo.read
    servo.read = lambda *given: read(*given)._replace(error=4)
    state = bench.read()
    assert valid(state) == [True, False]
    assert bench.bus.counters["joint_2"].refused == 1


def test_an_alert_shows_while_values_stay_fresh():
    bench = Bench(robot_of(("xl330-m288",) * 3)).ready()
    bench.virtual.servos[1].registers["hardware_error"] = 32
    state = bench.read()
    assert valid(state) == [True] * 3
    assert state.health.alert.tolist() == [False, True, False]


def test_an_overload_shows_within_two_ticks_and_torque_off_reaches_the_others():
    bench = Bench(robot_of(("xl330-m288",) * 4), Overload(device="joint_2", at=2.0)).ready()
    bench.clock.sleep_until(2.0)
    states = bench.reads(2)
    assert states[-1].health.alert.tolist() == [False, True, False, False]
    execute = bench.virtual.servos[1].execute
    bench.virtual.servos[1].execute = lambda *given: execute(*given)._replace(error=0x87)
    assert bench.bus.torque(False) == ("joint_2",)
    assert not any(servo.torque for servo in bench.virtual.servos)


def test_a_power_cut_is_seen_refused_and_mended_by_opening_anew():
    bench = Bench(robot_of(("xl330-m288",) * 2)).ready()
    bench.reads(3)
    bench.virtual.power_cycle("joint_2", 0.05)
    states = bench.reads(100)
    assert not any(valid(state)[1] for state in states[1:])  # it answers again, with a new clock
    assert not bench.virtual.servos[1].torque
    bench.ready()
    assert valid(bench.read()) == [True, True]


@pytest.mark.parametrize(
    ("fault", "fast"),
    [
        (Duplicate(device="joint_2"), False),
        (Garbage(device="joint_2", size=16), False),
        (Garbage(device="joint_1", size=16), True),
    ],
)
def test_bytes_too_many_cost_nobody_a_reading(fault, fast):
    bench = Bench(robot_of(("xl330-m288",) * 6, read=MOTION))
    if not fast:
        for servo in bench.virtual.servos:
            servo.registers["firmware"] = 45
    bench.bus.identify()
    bench.bus.prepare()
    bench.virtual.inject(fault)
    for state in bench.reads(20):
        assert valid(state) == [True] * 6
