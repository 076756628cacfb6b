"""A port that goes away and comes back: nothing is taken for granted."""

from __future__ import annotations

import os

import numpy as np
import pytest
from retort.hardware import JointCommand, PortError, RealClock, SerialPort, open_bus
from retort.hardware.virtual import RigidPlant, VirtualRobot

from .many_servos import Bench, robot_of, served, valid


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


def test_an_adapter_that_comes_back_under_another_number_is_found_by_its_name(tmp_path):
    robot, link = robot_of(("xl330-m288",) * 2), tmp_path / "by-name"
    with served(VirtualRobot(robot, RigidPlant(robot)), link):
        bus = open_bus(robot, lambda line: SerialPort(str(link), line.baud), RealClock())
        before = os.readlink(link)
        bus.identify()
        bus.prepare()
    with pytest.raises(PortError, match="gone away"):
        bus.read(bus.clock.now() + 1.0)
    with pytest.raises(PortError, match="there is no port"):
        bus.reopen()
    kept = os.openpty()  # takes the number that was free again
    with served(VirtualRobot(robot, RigidPlant(robot)), link):
        assert os.readlink(link) != before
        bus.reopen()
        assert bus.torque(True) == robot.joints
        assert valid(bus.read(bus.clock.now() + 1.0)) == [True, True]
        bus.close()
    for descriptor in kept:
        os.close(descriptor)
