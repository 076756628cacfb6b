"""The bus on a virtual line: what it reads, what it refuses, what it never does."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from retort.hardware import (
    DeviceError,
    JointCommand,
    PortError,
    RobotFileError,
    load_model,
    open_bus,
)
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.parser import InstructionParser
from retort.hardware.virtual import Faults
from retort.hardware.virtual.faults import Corrupt, Drop, Silence

NAMES = ("imu", "left_wheel", "right_wheel")
SERVO = load_model("xl330-m077")
MOTOR = SERVO.motor


def writes(rig) -> list:
    """Every packet the host sent that changes a register."""
    packets = InstructionParser().feed(b"".join(d for _, way, d in rig.bytes if way == "out"))
    changing = (codec.Instruction.WRITE, codec.Instruction.SYNC_WRITE, codec.Instruction.REBOOT)
    return [packet for packet in packets if packet.instruction in changing]


def test_one_tick_takes_its_wire_time(rig):
    rig.ready()
    start = rig.clock.now()
    state = rig.bus.read(start + 0.003)
    # request 17 B, answer 8 B and three blocks of 31 B, 10 bits each at 1 Mbit/s
    assert rig.clock.now() - start == pytest.approx((17 + 8 + 3 * 31) * 1e-5)
    assert state.time == start
    assert rig.valid(state) == (True, True, True)


def test_a_state_is_in_si_units_with_robot_tomls_signs(rig):
    rig.plant.turn(0, 1.5, 2.0)
    rig.plant.turn(1, -1.5, -2.0)
    state = rig.bus.read(1.0)
    np.testing.assert_allclose(state.joint_position, [1.5, 1.5], atol=2e-3)
    np.testing.assert_allclose(state.joint_velocity, [2.0, 2.0], atol=0.1)
    np.testing.assert_allclose(state.linear_acceleration, [0.0, 0.0, 9.81], atol=5e-3)
    np.testing.assert_allclose(state.orientation, [1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(state.health.voltage, [5.0, 5.0])
    np.testing.assert_allclose(state.health.temperature, [30.0, 30.0])
    assert not state.health.alert.any()


def test_effort_becomes_current_and_back(rig):
    rig.ready()
    rig.bus.write(JointCommand(np.array([0.05, -0.05])))
    (state,) = rig.reads(1)
    expected = 0.05 / MOTOR.torque_constant
    assert rig.plant.motor(0)[2] == pytest.approx(expected, abs=1e-3)
    assert rig.plant.motor(1)[2] == pytest.approx(expected, abs=1e-3)  # mounted mirrored
    np.testing.assert_allclose(state.joint_effort, [0.05, -0.05], atol=2e-4)


def test_states_of_different_ticks_share_no_memory(rig):
    first, second = rig.reads(2)
    for field in ("joint_position", "joint_valid", "orientation", "linear_acceleration"):
        assert not np.shares_memory(getattr(first, field), getattr(second, field))
    assert not np.shares_memory(first.health.voltage, second.health.voltage)


def test_identify_writes_nothing(rig):
    reports = rig.bus.identify()
    assert writes(rig) == []
    assert [report.name for report in reports] == ["left_wheel", "right_wheel", "imu"]
    assert all(report.problems == () for report in reports)
    left = reports[0]
    assert (left.model, left.mode, left.firmware) == ("xl330-m077", "effort", 52)
    assert left.gains["velocity_i"] == 400
    assert left.limits["effort"] == pytest.approx(1.75 * MOTOR.torque_constant)


@pytest.mark.parametrize(
    ("register", "value", "words"),
    [
        ("operating_mode", 3, "operating mode to 0"),
        ("drive_mode", 8, "bit 3"),
        ("drive_mode", 1, "bit 0"),
        ("startup_configuration", 1, "at power-up"),
        ("hardware_error", 32, "overload"),
        ("current_limit", 200, "effort"),
        ("model_number", 1200, "xl330-m288"),
        ("model_number", 1234, r"unknown \(number 1234\)"),
    ],
)
def test_identify_names_what_must_be_mended(rig, register, value, words):
    rig.virtual.servos[0].registers[register] = value
    reports = {report.name: report for report in rig.bus.identify()}
    (problem,) = reports["left_wheel"].problems
    assert problem.startswith("left_wheel")
    assert re.search(words, problem)
    assert reports["right_wheel"].problems == ()
    assert writes(rig) == []


def test_identify_says_when_the_return_delay_eats_the_budget(make_rig, robot):
    rig = make_rig(robot=dataclasses.replace(robot, read_fraction=0.15))
    assert all(report.problems == () for report in rig.bus.identify())
    for device in rig.virtual.devices:
        device.registers["return_delay"] = 250
    problems = [text for report in rig.bus.identify() for text in report.problems]
    assert any("return delay" in text for text in problems)


def test_identify_names_every_silent_device(make_rig):
    silence = tuple(Silence(device=name) for name in ("left_wheel", "imu"))
    rig = make_rig(Faults(*silence))
    with pytest.raises(DeviceError, match=r"left_wheel \(id 1\), imu \(id 10\) do not answer"):
        rig.bus.identify()


def test_prepare_leaves_the_robot_limp_watched_and_still(rig):
    servo = rig.virtual.servos[0]
    servo.registers["goal_current"] = 500
    servo.registers["status_return_level"] = 1
    servo.registers["velocity_p"] = 7
    rig.bus.prepare()
    assert servo.registers["goal_current"] == 0
    assert servo.registers["bus_watchdog"] == 5  # 100 ms in steps of 20
    assert servo.registers["status_return_level"] == 2
    assert servo.registers["velocity_p"] == 180
    assert not servo.torque


def test_prepare_clears_a_tripped_watchdog(rig):
    rig.ready()
    rig.clock.sleep_until(rig.clock.now() + 1.0)
    assert rig.virtual.servos[0].tripped
    rig.ready()
    assert not rig.virtual.servos[0].tripped


def test_identify_and_prepare_outlive_a_lossy_line(make_rig):
    make_rig(Faults(Drop(rate=0.01), Corrupt(rate=0.01)), seed=2).ready()


def test_a_clock_is_learnt_right_though_its_first_answer_was_lost(make_rig):
    rig = make_rig()
    rig.bus.identify()
    ask, lost = rig.bus.line.ask, set()

    def lossy(packet, attempts):
        if packet[4] in lost or packet[7] != codec.Instruction.READ:
            return ask(packet, attempts)
        lost.add(packet[4])
        now = rig.clock.now()
        rig.virtual.inject(Drop(rate=1.0, at=now, until=now + 1e-3))
        return ask(packet, attempts)

    rig.bus.line.ask = lossy
    rig.bus.drivers[0]._synchronise()
    assert lost == {device.id for device in rig.bus.drivers[0].devices}
    del rig.bus.line.ask
    assert rig.valid(rig.bus.read(rig.clock.now() + 0.01)) == (True, True, True)


def test_no_torque_enable_byte_before_torque(rig):
    rig.bus.identify()
    rig.bus.prepare()
    rig.reads(3)
    on = [p for p in writes(rig) if p.instruction == 3 and p.parameters == b"\x40\x00\x01"]
    assert on == []
    rig.bus.torque(True)
    on = [p.id for p in writes(rig) if p.instruction == 3 and p.parameters == b"\x40\x00\x01"]
    assert on == [1, 2]


def test_torque_on_begins_with_no_effort(rig):
    rig.bus.identify()
    rig.bus.prepare()
    rig.bus.write(JointCommand(np.array([0.1, 0.1])))
    rig.bus.torque(True)
    rig.clock.sleep_until(rig.clock.now() + 0.01)
    assert rig.plant.motor(0)[2] == 0.0


def test_torque_off_is_attempted_on_every_servo(make_rig):
    rig = make_rig(Faults(Silence(device="left_wheel", at=1.0)))
    rig.ready()
    rig.clock.sleep_until(1.0)
    assert rig.bus.torque(False) == ("left_wheel",)
    assert not rig.virtual.servos[1].torque
    assert rig.virtual.servos[0].torque


def test_torque_off_waits_for_nobody(make_rig):
    """The last servo is off within a millisecond though the first never confirms."""
    rig = make_rig(Faults(Silence(device="left_wheel", at=1.0)))
    rig.ready()
    rig.clock.sleep_until(1.0)
    torque = []
    rig.virtual.schedule(1.001, lambda: torque.append(rig.virtual.servos[1].torque))
    rig.bus.torque(False)
    assert torque == [False]


def test_torque_off_does_not_raise_when_the_port_is_gone(rig):
    def gone(data: bytes) -> None:
        raise PortError("gone")

    rig.port.write = gone
    assert rig.bus.torque(False) == ("left_wheel", "right_wheel")
    assert rig.bus.torque(True) == ("left_wheel", "right_wheel")


def test_the_tap_sees_every_byte(rig):
    rig.ready()
    rig.reads(3)
    rig.bus.write(JointCommand(np.zeros(2)))
    assert {way for _, way, _ in rig.bytes} == {"out", "in"}
    times = [time for time, _, _ in rig.bytes]
    assert times == sorted(times)
    assert rig.bytes[-1][2] == codec.sync_write(102, [(1, b"\0\0"), (2, b"\0\0")])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_target_that_is_no_number_is_refused(rig, bad):
    with pytest.raises(ValueError, match="finite"):
        rig.bus.write(JointCommand(np.array([0.0, bad])))
    assert rig.bytes == []


def test_targets_are_cut_to_what_the_register_takes(rig):
    rig.ready()
    rig.bus.write(JointCommand(np.array([100.0, -100.0])))
    rig.clock.sleep_until(rig.clock.now() + 0.001)
    assert [servo.registers["goal_current"] for servo in rig.virtual.servos] == [1750, 1750]


def test_position_and_velocity_joints_are_driven_in_their_units(make_rig, robot):
    """One joint of each kind, with a zero and a sign, on one line."""
    left, right = robot.joint
    limits = dataclasses.replace(left.limits, velocity=5.0)
    mixed = dataclasses.replace(
        robot,
        joint=(
            dataclasses.replace(left, mode="position", zero=math.pi, sign=-1, limits=limits),
            dataclasses.replace(right, mode="velocity", limits=limits),
        ),
    )
    rig = make_rig(robot=mixed)
    rig.plant.turn(0, math.pi)
    assert all(not report.problems for report in rig.bus.identify())
    rig.bus.prepare()
    rig.bus.torque(True)
    for _ in range(150):
        rig.reads(1)
        rig.bus.write(JointCommand(np.array([0.5, 2.0])))
    (state,) = rig.reads(1)
    assert rig.virtual.servos[0].registers["goal_position"] == round(
        (math.pi - 0.5) / math.tau * 4096
    )
    assert state.joint_position[0] == pytest.approx(0.5, abs=0.1)
    assert state.joint_velocity[1] == pytest.approx(2.0, abs=0.3)


def test_what_a_bus_cannot_do_is_refused_at_once(robot, rig):
    second = dataclasses.replace(robot.line[0], name="second")
    imu = dataclasses.replace(robot.imu, line="second")
    two = dataclasses.replace(robot, line=(robot.line[0], second), imu=imu)
    with pytest.raises(RobotFileError, match="2 lines"):
        open_bus(two, rig.port, rig.clock)
    with pytest.raises(RobotFileError, match="no port for line second"):
        open_bus(two, {"main": rig.port}, rig.clock)
    wrong = dataclasses.replace(robot.joint[0], gains={"position_q": 1})
    with pytest.raises(RobotFileError, match="position_p"):
        open_bus(dataclasses.replace(robot, joint=(wrong, robot.joint[1])), rig.port, rig.clock)
