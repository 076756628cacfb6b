"""Ports and devices that go away and come back: verified anew, and never armed by themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from retort.hardware import DeviceError, JointCommand, PortError, Robot, load_robot, open_bus
from retort.hardware.virtual import Faults, LockstepClock, LockstepPort, RigidPlant, VirtualRobot
from retort.hardware.virtual.faults import BrownOut, Fault, Unplug

PUSH = JointCommand(np.array([0.02, -0.02]))
GONE, BACK = 0.5, 0.8  # [s]
BOOTED = BACK + 0.5  # [s]


class Host:
    """A balancer's bus that can open its port again, armed and ticking."""

    def __init__(self, robot: Robot, *faults: Fault) -> None:
        self.robot = robot
        self.plant = RigidPlant(robot)
        self.virtual = VirtualRobot(robot, self.plant, faults=Faults(*faults))
        self.clock = LockstepClock(self.virtual)
        self.written: list[bytes] = []
        self.bus = open_bus(
            robot,
            lambda line: LockstepPort(self.virtual, self.clock, line.name),
            self.clock,
            lambda time, way, data: self.written.append(data) if way == "out" else None,
        )
        assert [report.problems for report in self.bus.identify()] == [()] * 3
        self.bus.prepare()
        assert self.bus.torque(True) == ()

    def tick(self):
        period = self.robot.period
        self.clock.sleep_until((self.clock.now() // period + 1) * period)
        self.bus.write(PUSH)
        return self.bus.read(self.clock.now() + self.robot.read_fraction * period)

    def tick_until(self, time: float):
        state = self.tick()
        while self.clock.now() < time:
            state = self.tick()
        return state

    def register(self, name: str, joint: int = 0) -> int:
        return self.virtual.servos[joint].registers[name]

    @property
    def torques(self) -> list[bool]:
        return [servo.torque for servo in self.virtual.servos]


@pytest.fixture
def host() -> Callable[..., Host]:
    return lambda *faults: Host(load_robot("balancer"), *faults)


def unplugged(host: Callable[..., Host]) -> Host:
    """A host whose port went away while it was ticking, plugged in again at ``BACK``."""
    made = host(Unplug(at=GONE, until=BACK))
    with pytest.raises(PortError):
        made.tick_until(BACK)
    assert made.clock.now() == pytest.approx(GONE, abs=2 * made.robot.period)
    return made


def test_after_unplugging_nothing_can_be_armed(host):
    made = unplugged(host)
    assert made.bus.torque(True) == made.robot.joints
    for act in (made.bus.identify, made.bus.prepare, made.bus.reopen, made.tick):
        with pytest.raises(PortError):
            act()
    assert made.bus.torque(False) == made.robot.joints  # nobody confirms, and nothing is raised


def test_unplugged_servos_stop_by_their_own_watchdog(host):
    made = unplugged(host)
    made.clock.sleep_until(GONE + 2 * made.robot.watchdog)
    assert all(servo.tripped for servo in made.virtual.servos)
    assert [made.plant.motor(joint)[2] for joint in range(2)] == [0.0, 0.0]


def test_the_old_port_stays_dead_after_replugging(host):
    made = unplugged(host)
    made.clock.sleep_until(BACK)
    with pytest.raises(PortError):
        made.tick()
    assert made.bus.torque(True) == made.robot.joints


def test_reopened_it_verifies_everything_and_stays_disarmed_until_prepared(host):
    made = unplugged(host)
    made.clock.sleep_until(BACK)
    made.written.clear()
    reports = made.bus.reopen()
    assert [(report.name, report.problems) for report in reports] == [
        ("left_wheel", ()),
        ("right_wheel", ()),
        ("imu", ()),
    ]
    assert made.bus.torque(True) == made.robot.joints
    made.bus.prepare()
    assert made.torques == [False, False]
    assert made.bus.torque(True) == ()
    state = made.tick_until(BACK + 0.5)
    assert state.joint_valid.all()
    assert state.imu_valid


def test_what_was_changed_while_unplugged_is_found(host):
    made = unplugged(host)
    made.virtual.servos[1].registers["operating_mode"] = 3
    made.clock.sleep_until(BACK)
    problems = made.bus.reopen()[1].problems
    assert any("operating mode 3" in problem for problem in problems)


def test_a_device_missing_after_replugging_is_named(host):
    made = unplugged(host)
    made.virtual.power_off("right_wheel")
    made.clock.sleep_until(BACK)
    with pytest.raises(DeviceError, match="right_wheel"):
        made.bus.reopen()
    assert made.bus.torque(True) == made.robot.joints


def test_a_servo_back_from_a_brown_out_is_limp_and_its_readings_do_not_count(host):
    made = host(BrownOut(device="left_wheel", at=GONE, until=BACK))
    assert made.tick_until(GONE - 0.05).joint_valid.all()
    state = made.tick_until((GONE + BACK) / 2)
    assert state.joint_valid.tolist() == [False, True]
    # Its clock began anew: it is heard, and not believed, until it is verified again.
    for _ in range(50):
        made.tick_until(BOOTED)
        state = made.tick()
        assert state.joint_valid.tolist() == [False, True]
        assert state.imu_valid
    assert made.torques == [False, True]
    assert made.register("bus_watchdog") == 0
    assert made.plant.motor(0)[2] == 0.0


def test_after_a_brown_out_identify_and_prepare_bring_it_back(host):
    made = host(BrownOut(device="left_wheel", at=GONE, until=BACK))
    made.tick_until(BOOTED)
    assert [report.problems for report in made.bus.identify()] == [()] * 3
    made.bus.prepare()
    assert made.torques == [False, False]
    assert made.register("bus_watchdog") == round(made.robot.watchdog / 0.02)
    assert made.bus.torque(True) == ()
    made.tick()
    assert made.tick().joint_valid.all()


def test_a_servo_that_comes_back_with_torque_is_not_believed_and_can_be_switched_off(host):
    made = host()
    made.virtual.servos[0].registers["startup_configuration"] = 1
    made.tick_until(GONE)
    made.virtual.power_cycle("left_wheel", BACK - GONE)
    state = made.tick_until(BOOTED)
    assert made.torques == [True, True]  # by itself
    assert state.joint_valid.tolist() == [False, True]
    assert made.bus.torque(False) == ()
    assert made.torques == [False, False]


def test_start_up_torque_is_refused_before_torque(host):
    made = host()
    made.virtual.servos[0].registers["startup_configuration"] = 1
    made.virtual.power_cycle("left_wheel", 0.1)
    made.clock.sleep_until(BOOTED)
    report = made.bus.identify()[0]
    assert report.torque
    assert any("switches torque on by itself at power-up" in text for text in report.problems)


def test_a_feetech_servo_back_from_a_brown_out_is_limp_and_gets_no_torque_by_a_goal():
    arm = load_robot("arm6")
    plant = RigidPlant(arm, inertia=0.02)
    for index, joint in enumerate(arm.joint):
        plant.turn(index, joint.zero)
    fault = BrownOut(device="elbow", at=GONE, until=BACK)
    virtual = VirtualRobot(arm, plant, faults=Faults(fault))
    clock = LockstepClock(virtual)
    bus = open_bus(arm, lambda line: LockstepPort(virtual, clock, line.name), clock)
    bus.identify()
    bus.prepare()
    assert bus.torque(True) == ()
    silent = 0
    while clock.now() < BOOTED:
        clock.sleep_until((clock.now() // arm.period + 1) * arm.period)
        bus.write(JointCommand(np.full(6, 0.2)))
        state = bus.read(clock.now() + arm.read_fraction * arm.period)
        silent += not state.joint_valid[2]
    assert silent > arm.safety.stale_ticks  # so that the gate has stopped the robot
    elbow = virtual.servos[2]
    assert not elbow.torque
    assert plant.motor(2)[2] == 0.0
    assert [servo.torque for servo in virtual.servos].count(True) == 5


def test_without_clocks_a_brown_out_lasts_longer_than_the_gate_waits(host):
    # Where [read] values leave the tick out, only its silence tells of a reboot.
    robot = load_robot("balancer")
    values = tuple(value for value in robot.read.values if value != "tick")
    robot = dataclasses.replace(robot, read=dataclasses.replace(robot.read, values=values))
    made = Host(robot, BrownOut(device="left_wheel", at=GONE, until=GONE + 0.01))
    made.tick_until(GONE)
    silent = 0
    while made.clock.now() < BOOTED:
        silent += not made.tick().joint_valid[0]
    assert silent > robot.safety.stale_ticks
