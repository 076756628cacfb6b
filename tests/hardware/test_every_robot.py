"""Every robot retort ships can be built of virtual devices and passes its own checks."""

from __future__ import annotations

import pytest
from retort.hardware import JointCommand, load_robot
from retort.hardware.robot import ROBOTS

ROBOT_NAMES = sorted(folder.name for folder in ROBOTS.iterdir() if folder.is_dir())


@pytest.fixture(params=ROBOT_NAMES)
def each(request, make_rig):
    return make_rig(robot=load_robot(request.param))


def test_its_devices_are_as_robot_toml_says(each):
    reports = each.bus.identify()
    assert [report.name for report in reports if report.mode] == list(each.bus.robot.joints)
    assert [problem for report in reports for problem in report.problems] == []


def test_a_tick_fits_its_read_budget(each):
    each.ready()
    robot = each.bus.robot
    start = each.clock.now()
    state = each.bus.read(start + robot.read_fraction * robot.period)
    assert state.joint_valid.all()
    assert each.clock.now() < start + robot.read_fraction * robot.period


def test_what_it_is_told_arrives(each):
    each.ready()
    default = [joint.default for joint in each.bus.robot.joint]
    each.bus.write(JointCommand(default))
    each.clock.sleep_until(each.clock.now() + 0.01)
    assert all(servo.torque and not servo.tripped for servo in each.virtual.servos)
    assert each.bus.torque(False) == ()
