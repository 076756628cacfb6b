"""A robot without those of its devices that are not there: to look at and mend the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from .line import ATTEMPTS
from .robot import Robot
from .robot_bus import RobotBus


def answering(bus: RobotBus, attempts: int = ATTEMPTS) -> tuple[str, ...]:
    """The devices that answer a ping, in the order of robot.toml's ``[read] order``.

    Raises:
        PortError: a port has gone away.
    """
    there = {
        device.name
        for driver in bus.drivers
        for device in driver.devices
        if driver.line.ping(device.id, attempts) is not None
    }
    return tuple(name for name in bus.robot.read.order if name in there)


def only(robot: Robot, names: Collection[str]) -> Robot:
    """``robot`` with no other devices, and no other lines, than those of ``names``.

    Raises:
        ValueError: none of them is a joint.
    """
    joints = tuple(joint for joint in robot.joint if joint.name in names)
    imu = robot.imu if "imu" in names else None
    lines = {joint.line for joint in joints} | ({imu.line} if imu else set())
    return dataclasses.replace(
        robot,
        joint=joints,
        imu=imu,
        line=tuple(line for line in robot.line if line.name in lines),
        read=dataclasses.replace(
            robot.read, order=tuple(name for name in robot.read.order if name in names)
        ),
    )
