"""The bus over any lines and models: one read per tick, goals, checks before torque."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from retort.hardware import (
    DeviceError,
    JointCommand,
    RobotFileError,
    open_bus,
)
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.codec import Instruction
from retort.hardware.dynamixel.parser import InstructionParser
from retort.hardware.dynamixel.units import Goals
from retort.hardware.line_driver import devices_of, servos_among
from retort.hardware.virtual import RigidPlant, VirtualRobot
from retort.hardware.virtual.faults import Delay, Silence

from .many_servos import MODELS, MOTION, Bench, robot_of, valid

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


def test_identified_anew_with_older_firmware_a_line_is_asked_as_that_understands():
    bench = Bench(robot_of(read=MOTION)).ready()
    assert valid(bench.read()) == [True] * 12
    bench.virtual.servos[3].registers["firmware"] = 45
    bench.bus.identify()
    since = bench.clock.now()
    assert valid(bench.reads(1)[0]) == [True] * 12
    assert asked(bench, since) == [Instruction.SYNC_READ]


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


@pytest.mark.parametrize("protocol", ["dynamixel2", "feetech"])
def test_an_answer_that_comes_after_it_was_asked_for_again_is_not_the_next_registers(protocol):
    late = Delay(seconds=0.05, until=0.04)  # longer than a line waits
    bench = Bench(robot_of((MODELS[protocol],), protocols=(protocol,)), late)
    (servo,), line = bench.virtual.servos, bench.bus.line
    for name in ("min_position_limit", "max_position_limit", "temperature_limit", "id"):
        assert line.read(1, servo.table, name) == servo.registers[name]


@pytest.mark.parametrize("protocol", ["dynamixel2", "feetech"])
def test_torque_off_is_not_confirmed_by_the_late_answer_to_torque_on(protocol):
    bench = Bench(robot_of((MODELS[protocol],), protocols=(protocol,))).ready()
    now = bench.clock.now()
    bench.virtual.inject(Delay(seconds=0.04, at=now, until=now + 1e-3))
    assert bench.bus.torque(True) == ()
    bench.virtual.inject(Silence(device="joint_1", at=bench.clock.now()))
    assert bench.bus.torque(False) == ("joint_1",)
    assert bench.virtual.servos[0].torque


@pytest.mark.parametrize("protocol", ["dynamixel2", "feetech"])
def test_a_model_on_a_line_of_another_protocol_is_refused_at_once(protocol):
    model = "sts3215" if protocol == "dynamixel2" else "xl330-m288"
    with pytest.raises(RobotFileError, match=f"joint_1: .* for kind servo that speaks {protocol}"):
        Bench(robot_of((model,), protocols=(protocol,)))


def test_a_servo_in_the_place_of_the_sensor_is_refused_at_once():
    robot = robot_of(("xl330-m288",), imu="a")
    imu = dataclasses.replace(robot.imu, model="xl330-m288")
    wrong = dataclasses.replace(robot, imu=imu)
    with pytest.raises(RobotFileError, match=r"its place in robot\.toml is for kind imu"):
        VirtualRobot(wrong, RigidPlant(wrong))
    bench = Bench(robot)
    with pytest.raises(RobotFileError, match="imu: xl330-m288 is no inertial sensor"):
        open_bus(wrong, bench.open, bench.clock)


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


@pytest.mark.parametrize(
    ("mode", "own", "ends"),
    [
        ("velocity", {"velocity_limit": 300}, (-300, 300)),
        ("effort", {"current_limit": 200}, (-200, 200)),
        ("position", {"min_position_limit": 1000, "max_position_limit": 3000}, (1000, 3000)),
    ],
)
def test_a_goal_beyond_the_servos_own_limits_takes_the_old_ones_place_cut(mode, own, ends):
    """A servo refuses such a goal, and the one before would stay in force."""
    bench = Bench(robot_of(("xl330-m288",) * 2, mode=mode))
    servo = bench.virtual.servos[0]
    for name, value in own.items():
        servo.registers[name] = value
    bench.plant.turn(0, math.pi)
    bench.ready()
    for target, end in ((1e3, ends[1]), (-1e3, ends[0]), (1e3, ends[1])):
        bench.bus.write(JointCommand(np.full(2, target)))
        bench.clock.sleep_until(bench.clock.now() + 0.002)
        assert servo.registers[{"effort": "goal_current"}.get(mode, f"goal_{mode}")] == end


def test_targets_as_large_as_numbers_get_are_cut_too():
    """Their sum is infinite, which is no reason to refuse them."""
    bench = Bench(robot_of(read=MOTION)).ready()
    with np.errstate(over="ignore"):
        bench.bus.write(JointCommand(np.full(12, np.finfo(float).max)))
    bench.clock.sleep_until(bench.clock.now() + 0.01)
    assert {servo.registers["goal_position"] for servo in bench.virtual.servos} == {4095}


def test_limits_changed_before_prepare_are_the_ones_that_count():
    bench = Bench(robot_of(("xl330-m288",), mode="velocity")).ready()
    servo = bench.virtual.servos[0]
    assert bench.bus.torque(False) == ()
    for limit in (200, 400):
        servo.registers["velocity_limit"] = limit
        bench.ready()
        bench.bus.write(JointCommand(np.array([-30.0])))
        bench.clock.sleep_until(bench.clock.now() + 0.002)
        assert servo.registers["goal_velocity"] == -limit
