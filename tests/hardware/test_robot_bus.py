"""The bus over any lines and models: one read per tick, partial results, losses, reconnection."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from retort.hardware import (
    DeviceError,
    JointCommand,
    PortError,
    RealClock,
    RobotFileError,
    SerialPort,
    open_bus,
)
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.codec import Instruction
from retort.hardware.dynamixel.parser import InstructionParser
from retort.hardware.dynamixel.units import Goals
from retort.hardware.line_driver import devices_of, servos_among
from retort.hardware.virtual import Emulator, RigidPlant, VirtualRobot
from retort.hardware.virtual.faults import Corrupt, Delay, Drop, Overload, Silence

from .many_servos import Bench, robot_of, valid

MOTION = {"values": ["effort", "velocity", "position"]}
INDIRECT = {"layout": "indirect"}
BYTE = 1e-5  # [s] at 1 Mbit/s


def asked(bench: Bench, since: float = 0.0) -> list[Instruction]:
    """The instructions sent since a time."""
    sent = b"".join(data for time, way, data in bench.bytes if way == "out" and time >= since)
    return [Instruction(packet.instruction) for packet in InstructionParser().feed(sent)]


# One tick


def test_one_tick_of_twelve_is_one_write_one_read_and_exactly_its_wire_time():
    bench = Bench(robot_of(read=MOTION)).ready()
    start, ports = bench.clock.now(), bench.bus.line.port
    calls = []
    write, read = ports.write, ports.read
    ports.write = lambda data: (calls.append("write"), write(data))[1]
    ports.read = lambda *given: (calls.append("read"), read(*given))[1]
    state = bench.read()
    assert calls == ["write", "read"]
    # request 26 B, answer 8 B and twelve blocks of 14 B
    assert bench.clock.now() - start == pytest.approx((26 + 8 + 12 * 14) * BYTE)
    bench.bus.write(JointCommand(np.zeros(12)))
    assert calls == ["write", "read", "write"]
    assert valid(state) == [True] * 12


@pytest.mark.parametrize(
    ("read", "answer"),
    [
        (MOTION, 8 + 12 * 14),
        ({}, 8 + 12 * 31),  # all values, 120 to 146
        (INDIRECT, 8 + 12 * 19),  # the same values in 15 bytes
        ({"values": ["position"]}, 8 + 12 * 8),
    ],
)
def test_a_tick_reads_no_more_than_robot_toml_names(read, answer):
    bench = Bench(robot_of(read=read, control_rate=50.0)).ready()
    start = bench.clock.now()
    bench.read()
    assert bench.clock.now() - start == pytest.approx((26 + answer) * BYTE)


@pytest.mark.parametrize("read", [{}, MOTION, INDIRECT])
def test_values_are_the_same_however_they_are_fetched(read):
    models = ("xl330-m288", "xl330-m077", "xl330-m288-fw53")
    bench = Bench(robot_of(models, read=read))
    bench.bus.identify()
    bench.bus.prepare()
    for joint in range(3):
        bench.plant.turn(joint, 0.5 * joint - 0.7, 1.0 - joint)
    state = bench.read()
    np.testing.assert_allclose(state.joint_position, [-0.7, -0.2, 0.3], atol=5e-3)
    np.testing.assert_allclose(state.joint_velocity, [1.0, 0.0, -1.0], atol=0.15)
    if "values" in read:
        assert np.isnan(state.health.voltage).all()
    else:
        np.testing.assert_allclose(state.health.voltage, 5.0)
        np.testing.assert_allclose(state.health.temperature, 30.0, atol=6.0)


@pytest.mark.parametrize(
    ("models", "read", "firmware", "instruction"),
    [
        (("xl330-m288", "xm430-w350"), {}, None, Instruction.FAST_SYNC_READ),
        (("xl330-m288", "xm430-w350"), INDIRECT, None, Instruction.FAST_BULK_READ),
        (("xl330-m288", "xl330-m288-fw53"), INDIRECT, None, Instruction.FAST_BULK_READ),
        (("xl330-m288", "xl330-m288"), {}, 45, Instruction.SYNC_READ),
        (("xl330-m288", "xm430-w350"), INDIRECT, 44, Instruction.BULK_READ),
        (("xl430-w250", "xl330-m288"), MOTION, None, Instruction.FAST_SYNC_READ),
    ],
)
def test_mixed_models_and_old_firmware_still_take_one_request(models, read, firmware, instruction):
    bench = Bench(robot_of(models, read=read))
    if firmware is not None:
        for servo in bench.virtual.servos:
            servo.registers["firmware"] = firmware
    bench.bus.identify()
    bench.bus.prepare()
    bench.plant.turn(0, 0.5)
    bench.plant.turn(1, -0.5)
    start = bench.clock.now()
    state = bench.read()
    assert asked(bench, start) == [instruction]
    np.testing.assert_allclose(state.joint_position, [0.5, -0.5], atol=5e-3)


def test_a_sensor_beside_indirect_servos_takes_one_bulk_read():
    bench = Bench(robot_of(("xl330-m288",) * 2, read=INDIRECT, imu="a")).ready()
    start = bench.clock.now()
    state = bench.read()
    assert asked(bench, start) == [Instruction.FAST_BULK_READ]
    assert state.imu_valid
    assert state.linear_acceleration[2] == pytest.approx(9.81, abs=5e-3)


def test_a_servo_without_current_reports_effort_by_its_load():
    bench = Bench(robot_of(("xl430-w250",), mode="velocity")).ready()
    bench.bus.write(JointCommand(np.array([3.0])))
    bench.clock.sleep_until(bench.clock.now() + 0.02)
    state = bench.read()
    load = bench.virtual.servos[0].registers["present_load"]
    assert load > 0
    assert state.joint_effort[0] == pytest.approx(load * 1e-3 * 1.4)


def test_a_mode_a_servo_does_not_have_is_refused_at_once():
    with pytest.raises(RobotFileError, match=r"mode 'effort', which a xl430-w250 does not have"):
        Bench(robot_of(("xl430-w250",), mode="effort"))


def test_indirect_windows_are_written_at_every_open():
    bench = Bench(robot_of(("xl330-m288",), read=INDIRECT)).ready()
    bench.virtual.power_cycle(seconds=0.1)
    bench.clock.sleep_until(bench.clock.now() + 1.0)
    bench.ready()
    bench.plant.turn(0, 1.0)
    assert bench.read().joint_position[0] == pytest.approx(1.0, abs=5e-3)


def test_a_budget_too_small_for_direct_reads_names_what_would_fit():
    robot = dataclasses.replace(robot_of(), read_fraction=0.3)
    problems = [text for report in Bench(robot).bus.identify() for text in report.problems]
    assert any('layout = "indirect" (2.62 ms)' in text for text in problems)
    indirect = dataclasses.replace(robot.read, layout="indirect")
    fits = Bench(dataclasses.replace(robot, read=indirect)).bus.identify()
    assert [text for report in fits for text in report.problems] == []


# Several lines


def two_lines(*faults, **more) -> Bench:
    robot = robot_of(
        ("xl330-m288",) * 6,
        lines=("a", "b", "a", "b", "a", "b"),
        protocols=("dynamixel2", "dynamixel2"),
        imu="b",
        **more,
    )
    return Bench(robot, *faults)


def test_lines_are_sent_to_first_and_waited_for_together():
    bench = two_lines().ready()
    start = bench.clock.now()
    state = bench.read()
    # the longer line, with the sensor: request 18 B, answer 8 B and four blocks of 31 B
    assert bench.clock.now() - start == pytest.approx((18 + 8 + 4 * 31) * BYTE)
    assert valid(state) == [True] * 6
    assert state.imu_valid


def test_joints_keep_their_order_across_lines():
    bench = two_lines().ready()
    bench.bus.torque(False)
    angles = np.linspace(-1.0, 1.0, 6)
    for joint, angle in enumerate(angles):
        bench.plant.turn(joint, angle)
    np.testing.assert_allclose(bench.read().joint_position, angles, atol=5e-3)
    goals = 0.1 * np.arange(6)
    assert bench.bus.torque(True) == ()
    bench.bus.write(JointCommand(goals))
    bench.clock.sleep_until(bench.clock.now() + 0.002)
    got = [servo.registers["goal_position"] * math.tau / 4096 for servo in bench.virtual.servos]
    np.testing.assert_allclose(got, goals, atol=2e-3)


def test_a_silent_line_costs_the_other_nothing():
    silence = [Silence(device=name, at=2.0) for name in ("joint_1", "joint_3", "joint_5")]
    bench = two_lines(*silence).ready()
    bench.clock.sleep_until(2.0)
    state = bench.read()
    assert valid(state) == [False, True] * 3
    assert state.imu_valid


def test_a_dynamixel_and_a_feetech_line_make_one_robot():
    robot = robot_of(
        ("xl330-m288", "sts3215", "sts3215"),
        lines=("a", "b", "b"),
        protocols=("dynamixel2", "feetech"),
        control_rate=50.0,
    )
    bench = Bench(robot, supply=6.0)
    bench.bus.identify()
    bench.bus.prepare()
    assert bench.bus.torque(True) == ()
    state = bench.reads(3)[-1]
    assert valid(state) == [True] * 3
    assert bench.bus.torque(False) == ()


# Losses


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


def test_losses_are_counted_as_injected_and_steps_stay_within_slew():
    """One per cent lost and one per cent damaged, goals on a fixed trajectory. Ten minutes of it:
    bench/bus_losses.py."""
    robot = robot_of(("xl330-m288",) * 6, read=MOTION, control_rate=50.0)
    bench = Bench(robot, seed=4, keep=False).ready()
    bench.virtual.inject(Drop(rate=0.01, at=bench.clock.now()))
    bench.virtual.inject(Corrupt(rate=0.01, at=bench.clock.now()))
    ticks, step = 1000, robot.safety.slew * robot.period
    start, last = bench.clock.now(), None
    first_losses = 0
    for tick in range(ticks):
        bench.clock.sleep_until(start + tick * robot.period)
        before = bench.virtual.fault_counts.dropped + bench.virtual.fault_counts.corrupted
        state = bench.read()
        after = bench.virtual.fault_counts.dropped + bench.virtual.fault_counts.corrupted
        assert all(valid(state)) == (after == before)
        first_losses += after > before
        goal = 0.5 * np.sin(2.0 * tick * robot.period + np.arange(6))
        assert last is None or np.abs(goal - last).max() <= step
        bench.bus.write(JointCommand(goal))
        last = goal
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


# Checks before torque


def test_a_shadow_id_is_a_problem():
    bench = Bench(robot_of(("xl330-m288",) * 2))
    bench.virtual.servos[0].registers["secondary_id"] = 2
    problems = [text for report in bench.bus.identify() for text in report.problems]
    assert len(problems) == 1
    assert "also answers to the id 2" in problems[0]


def test_firmware_with_another_table_is_a_problem():
    bench = Bench(robot_of(("xl330-m288",)))
    bench.virtual.servos[0].registers["firmware"] = 53
    (report,) = bench.bus.identify()
    assert 'servo = "xl330-m288-fw53"' in report.problems[0]


def test_torque_needs_prepare_first():
    bench = Bench(robot_of(("xl330-m288",) * 2))
    bench.bus.identify()
    assert bench.bus.torque(True) == ("joint_1", "joint_2")
    assert not any(servo.torque for servo in bench.virtual.servos)


def test_prepare_leaves_no_profile_and_full_voltage():
    bench = Bench(robot_of(("xl330-m288",)))
    registers = bench.virtual.servos[0].registers
    registers["profile_velocity"], registers["goal_pwm"] = 30, 100
    bench.bus.prepare()
    assert registers["profile_velocity"] == 0
    assert registers["goal_pwm"] == 885


# A port that goes away


def test_after_unplugging_everything_is_verified_again_and_torque_stays_off():
    bench = Bench(robot_of(("xl330-m288",) * 2)).ready()
    bench.virtual.unplug()
    with pytest.raises(PortError, match="gone away"):
        bench.read()
    with pytest.raises(PortError):
        bench.bus.write(JointCommand(np.zeros(2)))
    assert bench.bus.torque(False) == ("joint_1", "joint_2")
    with pytest.raises(PortError):
        bench.bus.reopen()
    bench.virtual.replug()
    reports = bench.bus.reopen()
    assert [report.name for report in reports] == ["joint_1", "joint_2"]
    assert bench.bus.torque(True) == ("joint_1", "joint_2")
    bench.bus.prepare()
    assert not any(servo.torque for servo in bench.virtual.servos)
    assert bench.bus.torque(True) == ()
    assert valid(bench.read()) == [True, True]


@contextlib.contextmanager
def served(robot, link) -> Iterator[None]:
    """Virtual servos behind ``link`` in real time."""
    emulator, up = Emulator(VirtualRobot(robot, RigidPlant(robot)), link), threading.Event()
    thread = threading.Thread(target=emulator.serve, args=(lambda _: up.set(),))
    thread.start()
    assert up.wait(10.0)
    try:
        yield
    finally:
        emulator.stop()
        thread.join(10.0)


def test_an_adapter_that_comes_back_under_another_number_is_found_by_its_name(tmp_path):
    robot, link = robot_of(("xl330-m288",) * 2), tmp_path / "by-name"
    with served(robot, link):
        bus = open_bus(robot, lambda line: SerialPort(str(link), line.baud), RealClock())
        before = os.readlink(link)
        bus.identify()
        bus.prepare()
    with pytest.raises(PortError, match="gone away"):
        bus.read(bus.clock.now() + 1.0)
    with pytest.raises(PortError, match="there is no port"):
        bus.reopen()
    kept = os.openpty()  # takes the number that was free again
    with served(robot, link):
        assert os.readlink(link) != before
        bus.reopen()
        assert bus.torque(True) == robot.joints
        assert valid(bus.read(bus.clock.now() + 1.0)) == [True, True]
        bus.close()
    for descriptor in kept:
        os.close(descriptor)


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


def test_a_servo_that_takes_torque_at_power_up_is_refused():
    bench = Bench(robot_of(("xl330-m288",)))
    bench.virtual.servos[0].registers["startup_configuration"] = 1
    (report,) = bench.bus.identify()
    assert "by itself at power-up" in report.problems[0]


def test_devices_missing_on_several_lines_are_named_together():
    bench = two_lines(Silence(device="joint_1"), Silence(device="imu"))
    with pytest.raises(DeviceError, match=r"joint_1 .*imu"):
        bench.bus.identify()


def test_an_echoing_adapter_changes_nothing():
    robot = robot_of(("xl330-m288",) * 3, read=MOTION)
    line = dataclasses.replace(robot.line[0], echo=True)
    bench = Bench(dataclasses.replace(robot, line=(line,)))
    bench.virtual.line.echo = True
    bench.ready()
    start = bench.clock.now()
    assert valid(bench.read()) == [True] * 3
    assert bench.clock.now() - start == pytest.approx((17 + 8 + 3 * 14) * BYTE)


@given(st.lists(st.integers(-(2**20) + 1, 2**20 - 1), min_size=12, max_size=12))
@example([-0x020001] * 12)  # FF FF FD FF: stuffed on the wire
def test_goals_are_the_sync_write_of_their_counts(counts):
    robot = robot_of()
    goals = Goals("position", servos_among(devices_of(robot, "a")))
    target = np.array(counts) * (math.tau / 4096)
    data = [(id, count.to_bytes(4, "little", signed=True)) for id, count in enumerate(counts, 1)]
    assert goals.packet(target) == codec.sync_write(116, data)
