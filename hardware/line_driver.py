"""What a ``RobotBus`` asks of one line, whatever its protocol. One driver stands for one line.

A driver lives in its protocol's folder (``dynamixel/driver.py``); ``robot_bus.DRIVERS`` names it by
the ``protocol`` of a ``[[line]]`` in robot.toml.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .bus import DeviceReport
from .line import Line
from .model_table import ModelTable, load_model
from .robot import Joint, Robot
from .roll_call import RollCall


@dataclasses.dataclass(frozen=True)
class Device:
    """One device robot.toml names."""

    name: str  # joint or "imu"
    id: int
    table: ModelTable
    joint: Joint | None  # None: the inertial sensor
    index: int = -1  # of the joint, in the robot's joint order; -1: the inertial sensor

    def __str__(self) -> str:
        return f"{self.name} (id {self.id})"


class LineDriver(Protocol):
    """One line of a robot, tick by tick.

    A tick is ``request`` on every line, then ``collect`` on every line, then ``send`` on every
    line: the lines' wires work side by side. Only ``identify``, ``prepare`` and ``torque_of`` ask
    again when an answer is lost; a tick never does.

    Built as ``driver(robot, devices, line, readings)``; construction puts nothing on the wire and
    raises ``RobotFileError`` for what this protocol cannot do.

    Attributes:
        devices: those on this line, in the order of robot.toml's ``[read] order``.
        roll: who is asked in a tick, and the counters.
    """

    devices: tuple[Device, ...]
    roll: RollCall

    @property
    def line(self) -> Line:
        """The open line, for everything outside a tick."""
        ...

    def identify(self) -> list[DeviceReport]:
        """Every device's report, in the order of ``devices``. Writes nothing.

        It also learns here what the tick's own packets depend on (firmware, clocks), and begins the
        roll anew (``roll.restore``).

        Raises:
            DeviceError: devices do not answer; the message names all of them.
        """
        ...

    def prepare(self) -> None:
        """Torque off, then everything that must stand in RAM before torque, read back.

        Raises:
            DeviceError: a register does not hold what was written.
        """
        ...

    def request(self) -> None:
        """Throw away what arrived unasked, then put the tick's request on the wire. Does not wait.

        ``readings.joint_fresh`` and ``imu_fresh`` are false already.
        """
        ...

    def collect(self, deadline: float) -> None:
        """Take the answers to ``request``; returns by ``deadline`` [s, the line's clock].

        Writes what is fresh into ``readings`` (see there) and every outcome into ``roll``. An
        answer to an earlier request is counted ``late`` and not used.
        """
        ...

    def send(self, target: np.ndarray) -> None:
        """Send the goals of this line's joints; (joints,) of the whole robot, SI, finite."""
        ...

    def rest(self) -> None:
        """Before torque-on: ask effort and velocity joints for nothing."""
        ...

    def torque_off_all(self) -> None:
        """Torque off in one packet to every servo of the line; nobody is waited for."""
        ...

    def torque_of(self, device: Device, on: bool) -> bool:
        """Switch one servo; whether it has confirmed.

        Raises:
            PortError: the port has gone away.
        """
        ...


def devices_of(robot: Robot, line: str) -> tuple[Device, ...]:
    """The devices on the line called ``line``, in the order they are asked.

    Raises:
        RobotFileError: a model retort has no table for.
    """
    found = {}
    for index, joint in enumerate(robot.joint):
        if joint.line == line:
            found[joint.name] = Device(joint.name, joint.id, load_model(joint.servo), joint, index)
    if robot.imu is not None and robot.imu.line == line:
        found["imu"] = Device("imu", robot.imu.id, load_model(robot.imu.model), None)
    return tuple(found[name] for name in robot.read.order if name in found)


def servos_among(devices: Sequence[Device]) -> list[Device]:
    """The servos, in joint order."""
    return sorted((d for d in devices if d.joint is not None), key=lambda d: d.index)


def joint_of(device: Device) -> Joint:
    """The joint a servo moves."""
    assert device.joint is not None
    return device.joint
