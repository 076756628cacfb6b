"""A line of STS servos, tick by tick, over virtual servos in lock-step."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from retort.hardware import DeviceError, RobotFileError
from retort.hardware.feetech import codec
from retort.hardware.feetech.driver import FeetechDriver
from retort.hardware.feetech.line import FeetechLine
from retort.hardware.line_driver import devices_of
from retort.hardware.readings import POSITION, TEMPERATURE, VELOCITY, VOLTAGE, Readings
from retort.hardware.robot import Limits
from retort.hardware.virtual.faults import Silence

from .feetech_rig import COUNT, Rig, jumped, make_robot


@pytest.fixture
def rig() -> Rig:
    return Rig(make_robot())


# A tick


def test_a_tick_of_twelve_is_one_write_one_read_and_exactly_the_wire_time():
    rig = Rig(make_robot(12)).ready()
    rig.tick()
    rig.port.writes.clear()
    rig.clock.sleep_until(rig.clock.now() + 0.01)
    start = rig.clock.now()
    rig.readings.begin()
    rig.driver.request()
    rig.driver.collect(start + 0.004)
    assert rig.readings.joint_fresh.all()
    assert len(rig.port.writes) == 1
    wire = len(rig.port.writes[0]) + 12 * (6 + 15)
    assert rig.clock.now() - start == pytest.approx(wire * 10e-6, abs=1e-9)


def test_readings_are_si_with_sign_and_zero(rig):
    rig.ready()
    rig.plant.turn(2, math.pi + 0.5, -1.0)
    assert rig.tick() == [True] * 3
    assert rig.si(POSITION)[:2] == pytest.approx([0.0, -0.1], abs=2 * COUNT)
    assert rig.si(VOLTAGE) == pytest.approx([7.4] * 3)
    assert rig.si(TEMPERATURE) == pytest.approx([25.0] * 3, abs=1.0)
    rig.plant.turn(1, math.pi, 0.7)
    rig.tick()
    assert rig.si(VELOCITY)[1] < 0.0  # mounted the other way round


def test_goals_arrive_in_the_servos_own_sense(rig):
    rig.ready()
    rig.driver.send(np.array([0.2, 0.2, -0.3]))
    rig.clock.sleep_until(rig.clock.now() + 0.005)
    goals = [servo.registers["goal_position"] for servo in rig.servos]
    assert goals == [round((math.pi + x) / COUNT) for x in (0.2, -0.2, -0.3)]


def test_goals_beyond_one_turn_are_cut(rig):
    rig.ready()
    rig.driver.send(np.array([9.0, 9.0, 0.0]))
    rig.clock.sleep_until(rig.clock.now() + 0.005)
    assert [servo.registers["goal_position"] for servo in rig.servos] == [4095, 0, 2048]


def test_a_wheel_is_told_its_speed_and_its_angle_never_jumps():
    rig = Rig(make_robot(1, mode="velocity")).ready()
    rig.driver.send(np.array([4.0]))
    angles = []
    for _ in range(300):
        assert rig.tick() == [True]
        angles.append(rig.si(POSITION)[0])
    assert angles[-1] > 1.5 * math.tau
    assert max(np.diff(angles)) < 0.06
    assert rig.si(VELOCITY)[0] == pytest.approx(4.0, rel=0.02)
    rig.driver.rest()
    rig.clock.sleep_until(rig.clock.now() + 4.0)
    rig.tick()
    assert rig.si(VELOCITY)[0] == pytest.approx(0.0, abs=0.05)
    rig.driver.send(np.array([-2.0]))
    rig.clock.sleep_until(rig.clock.now() + 0.005)
    assert rig.servos[0].registers["goal_velocity"] == -round(2.0 / COUNT)


# Before torque


def test_a_servo_as_robot_toml_says_has_no_problems(rig):
    reports = rig.driver.identify()
    assert [report.problems for report in reports] == [()] * 3
    assert reports[0].model == "sts3215"
    assert reports[0].mode == "position"
    assert reports[0].gains["position_p"] == 32
    assert reports[0].limits["effort"] == pytest.approx(1.912)


@pytest.mark.parametrize(
    ("register", "value", "said"),
    [
        ("operating_mode", 3, "operating mode 3 .step."),
        ("position_p", 16, "position_p 16 in its EEPROM, robot.toml says 32; write it"),
        ("status_return_level", 0, "confirms no write"),
        ("phase", 12 | 128, "phase 140: it measures the other way round; set its phase to 12"),
        ("phase", 8, "units of 50 counts/s"),
        ("max_position_limit", 3000, "upper position limit at 1.460"),
        ("max_torque", 300, "raise its max_torque"),
        ("max_voltage_limit", 140, "name the right variant"),
    ],
)
def test_what_differs_from_robot_toml_is_refused_with_what_to_do(register, value, said):
    limits = Limits(position_min=-1.5, position_max=1.5, effort=1.0)
    rig = Rig(make_robot(gains={"position_p": 32}, limits=limits))
    assert [r.problems for r in rig.driver.identify()] == [()] * 3
    rig.servos[0].registers[register] = value
    report = rig.driver.identify()[0]
    assert len(report.problems) == 1
    assert said.replace(".step.", "(step)") in report.problems[0]
    assert rig.servos[0].registers[register] == value  # nothing was written


def test_endless_position_limits_are_refused_in_position_mode(rig):
    rig.servos[0].registers["max_position_limit"] = 0
    (problem,) = rig.driver.identify()[0].problems
    assert "no position limits" in problem


def test_a_fault_is_a_problem_before_torque(rig):
    rig.servos[1].temperature = 90.0
    report = rig.driver.identify()[1]
    assert report.alert
    assert "overheating" in report.problems[0]


def test_a_return_delay_that_eats_the_read_budget_is_said():
    rig = Rig(make_robot(12))
    for servo in rig.servos:
        servo.registers["return_delay"] = 250
    problem = rig.driver.identify()[0].problems[-1]
    assert "6.00 ms of it return delay" in problem


def test_silent_servos_are_all_named():
    rig = Rig(make_robot(), *(Silence(device=f"joint{i}") for i in (0, 2)))
    with pytest.raises(DeviceError, match=r"joint0 \(id 1\), joint2 \(id 3\) do not answer"):
        rig.driver.identify()


@pytest.mark.parametrize(
    ("joint", "said"),
    [
        ({"mode": "effort"}, "cannot control its current"),
        ({"servo": "xl330-m077"}, "xl330-m077 is no Feetech servo"),
        ({"gains": {"position_f": 1}}, "the gains are velocity_p"),
        ({"gains": {"position_p": 300}}, "0 to 254"),
    ],
)
def test_what_a_feetech_servo_cannot_do_is_refused_at_once(joint, said):
    robot = make_robot(1)
    robot = dataclasses.replace(robot, joint=(dataclasses.replace(robot.joint[0], **joint),))
    line = FeetechLine(None, None)  # type: ignore[arg-type]
    with pytest.raises(RobotFileError, match=said):
        FeetechDriver(robot, devices_of(robot, "main"), line, Readings(robot))


def test_prepare_sets_ram_and_leaves_eeprom_alone():
    rig = Rig(make_robot(limits=Limits(effort=0.956)))
    servo = rig.servos[0]
    before = bytes(servo.registers.data[:40])
    servo.registers["lock"] = 0
    servo.registers["torque_enable"] = 1
    servo.registers["goal_velocity"] = 5
    rig.driver.identify()
    rig.driver.prepare()
    names = ("torque_enable", "lock", "acceleration", "goal_time", "goal_velocity", "torque_limit")
    assert [servo.registers[name] for name in names] == [0, 1, 0, 0, 0, 500]
    assert bytes(servo.registers.data[:40]) == before


def test_the_servos_own_torque_limit_is_not_raised():
    rig = Rig(make_robot())
    rig.servos[0].registers["max_torque"] = 600
    rig.driver.prepare()
    assert [servo.registers["torque_limit"] for servo in rig.servos] == [600, 1000, 1000]


def test_a_position_that_two_reads_do_not_agree_on_is_no_goal(rig):
    rig.driver.identify()
    rig.driver.prepare()
    answers = iter((900, 0))
    rig.port.tamper = lambda data: jumped(data, next(answers)) if data[3] == 4 else data
    assert not rig.driver.torque_of(rig.driver.devices[0], True)
    assert not rig.servos[0].torque


def test_torque_on_moves_nothing_whatever_goal_was_left(rig):
    for servo in rig.servos:
        servo.registers["goal_position"] = 4000
    rig.ready()
    rig.clock.sleep_until(rig.clock.now() + 0.5)
    rig.tick()
    assert rig.si(POSITION) == pytest.approx([0.0, -0.1, 0.2], abs=2 * COUNT)
    assert all(servo.torque for servo in rig.servos)


def test_goals_go_only_to_servos_that_were_switched_on(rig):
    rig.driver.identify()
    rig.driver.prepare()
    rig.port.writes.clear()
    rig.driver.send(np.zeros(3))
    assert rig.port.writes == []
    assert rig.driver.torque_of(rig.driver.devices[1], True)
    rig.port.writes.clear()
    rig.driver.send(np.zeros(3))
    assert rig.port.writes == [codec.sync_write(42, [(2, (2048).to_bytes(2, "little"))])]


def test_torque_off_reaches_everyone_at_once_and_is_confirmed_one_by_one(rig):
    rig.ready()
    rig.servos[0].temperature = 90.0  # answers with an error from now on
    rig.driver.torque_off_all()
    rig.clock.sleep_until(rig.clock.now() + 0.001)
    assert not any(servo.torque for servo in rig.servos)
    assert all(rig.driver.torque_of(device, False) for device in rig.driver.devices)


def test_a_servo_that_does_not_answer_has_not_confirmed(rig):
    rig.ready()
    rig.port.tamper = lambda data: b""
    assert not rig.driver.torque_of(rig.driver.devices[0], False)


def test_overload_is_in_the_reading(rig):
    rig.ready()
    rig.servos[2].overload()
    rig.clock.sleep_until(rig.clock.now() + 0.002)
    assert rig.tick() == [True] * 3
    assert rig.readings.alert.tolist() == [False, False, True]


def test_no_instruction_reboots_one(rig):
    with pytest.raises(DeviceError, match="cut its power"):
        rig.driver.line.reboot(1)
