"""A robot with STS servos through ``open_bus``, alone and beside a DYNAMIXEL line."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from retort.hardware import JointCommand, Robot, load_robot, open_bus
from retort.hardware.robot import Joint, Limits, Line, Ramp
from retort.hardware.virtual import LockstepClock, LockstepPort, RigidPlant, VirtualRobot


class Rig:
    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.plant = RigidPlant(robot, inertia=0.02, supply=7.0)
        for index, joint in enumerate(robot.joint):
            self.plant.turn(index, joint.zero)
        self.virtual = VirtualRobot(robot, self.plant)
        self.clock = LockstepClock(self.virtual)
        self.bus = open_bus(
            robot, lambda line: LockstepPort(self.virtual, self.clock, line.name), self.clock
        )

    def ready(self) -> Rig:
        assert [report.problems for report in self.bus.identify()] == [()] * len(self.robot.joint)
        self.bus.prepare()
        assert self.bus.torque(True) == ()
        return self

    def tick(self):
        self.clock.sleep_until(
            self.robot.period * math.ceil(self.clock.now() / self.robot.period + 1e-6)
        )
        return self.bus.read(self.clock.now() + self.robot.read_fraction * self.robot.period)


@pytest.fixture(scope="module")
def arm() -> Robot:
    return load_robot("arm6")


def test_the_arm_goes_where_it_is_told(arm):
    rig = Rig(arm).ready()
    start = rig.tick().joint_position
    target = np.array([0.3, -0.2, 0.4, 0.1, -0.5, 0.2])
    for tick in range(150):
        share = min(1.0, tick / 75)
        rig.bus.write(JointCommand(start + share * (target - start)))
        state = rig.tick()
        assert state.joint_valid.all()
    assert state.joint_position == pytest.approx(target, abs=0.006)
    assert state.health is not None
    assert state.health.voltage == pytest.approx([7.0] * 6)
    assert not state.health.alert.any()


def test_an_overload_is_in_the_state_at_once_and_torque_off_reaches_everyone(arm):
    rig = Rig(arm).ready()
    rig.virtual.servos[2].overload()
    state = rig.tick()
    assert state.health is not None
    assert state.health.alert.tolist() == [False, False, True, False, False, False]
    assert rig.bus.torque(False) == ()
    assert not any(servo.torque for servo in rig.virtual.servos)


def test_a_servo_that_lost_power_and_came_back_is_without_torque_and_moves_nowhere(arm):
    rig = Rig(arm).ready()
    rig.tick()
    rig.virtual.power_off("elbow")
    assert not rig.tick().joint_valid[2]
    rig.virtual.power_on("elbow")
    rig.clock.sleep_until(rig.clock.now() + 0.2)
    before = rig.plant.motor(2)[0]
    for _ in range(20):
        rig.bus.write(JointCommand(np.full(6, 0.2)))
        state = rig.tick()
    assert state.joint_valid.all()
    assert not rig.virtual.servos[2].torque
    assert rig.plant.motor(2)[0] == before


def test_one_line_of_each_protocol_is_one_robot():
    balancer = load_robot("balancer")
    wheel = dataclasses.replace(
        balancer.joint[0],
        line="wheels",
        mode="velocity",
        gains={},
        limits=Limits(velocity=10.0),
    )
    neck = Joint(name="neck", line="neck", id=1, servo="sts3215", mode="position", zero=math.pi)
    robot = dataclasses.replace(
        balancer,
        line=(
            Line(name="wheels", protocol="dynamixel2", baud=1_000_000),
            Line(name="neck", protocol="feetech", baud=1_000_000),
        ),
        joint=(wheel, neck),
        imu=None,
        ramp=Ramp(kind="pose"),
        read=dataclasses.replace(balancer.read, order=("neck", "left_wheel")),
    )
    rig = Rig(robot)
    rig.plant.supply_voltage, rig.plant.inertia = 6.0, 5e-4
    rig.ready()
    for _ in range(100):
        rig.bus.write(JointCommand(np.array([2.0, 0.3])))
        state = rig.tick()
        assert state.joint_valid.all()
    assert state.joint_velocity[0] == pytest.approx(2.0, rel=0.1)
    assert state.joint_position[1] == pytest.approx(0.3, abs=0.01)
    assert all(counter.answered == 100 for counter in rig.bus.counters.values())
