"""A whole virtual robot: devices on their line and the plant they turn, in one time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import numpy as np

from ..errors import RobotFileError
from ..model_table import load_model
from ..plant import Plant
from ..robot import Robot
from .device import VirtualDevice
from .faults import FaultCounts, Faults
from .imu import ImuErrors, VirtualImu
from .line import VirtualLine
from .servo import CONTROL_PERIOD, VirtualServo


class VirtualRobot:
    """The devices robot.toml names, with EEPROM as it demands, on one virtual line.

    Time stands still between calls; ``advance`` plays everything due, in order: packets heard,
    watchdogs, the servos' own loops, scheduled events, physics.

    Args:
        robot: what to build.
        plant: what its motors turn.
        seed: of faults and sensor noise.
        faults: none by default.
        imu_errors: none by default.

    Attributes:
        servos: in joint order.
        imu: the sensor board, if the robot has one.
        time: [s], from 0.
    """

    def __init__(
        self,
        robot: Robot,
        plant: Plant,
        seed: int = 0,
        faults: Faults | None = None,
        imu_errors: ImuErrors | None = None,
    ) -> None:
        if len(robot.line) != 1:
            raise RobotFileError(
                f"{robot.name} has {len(robot.line)} lines; a virtual robot has exactly one"
            )
        line_random, imu_random = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)
        )
        self.robot = robot
        self.plant = plant
        self.time = 0.0
        baud = robot.line[0].baud
        self.servos = tuple(
            VirtualServo(
                joint.name, load_model(joint.servo), joint.id, baud, joint.mode, plant, index
            )
            for index, joint in enumerate(robot.joint)
        )
        self.imu = (
            VirtualImu(plant, robot.imu.id, baud, imu_random, imu_errors, robot.imu.model)
            if robot.imu
            else None
        )
        self.line = VirtualLine(self.devices, baud, faults or Faults(), line_random)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._next_control = 0.0

    @property
    def devices(self) -> tuple[VirtualDevice, ...]:
        """Servos, then the sensor board."""
        return (*self.servos, self.imu) if self.imu else self.servos

    @property
    def fault_counts(self) -> FaultCounts:
        """What the line has injected so far."""
        return self.line.counts

    def device(self, name: str) -> VirtualDevice:
        """A device by joint name or "imu".

        Raises:
            KeyError: there is none; the message lists those there are.
        """
        for device in self.devices:
            if device.name == name:
                return device
        known = ", ".join(device.name for device in self.devices)
        raise KeyError(f"there is no device {name!r}; there are {known}")

    def schedule(self, time: float, event: Callable[[], None]) -> None:
        """Call ``event`` when the robot's time reaches ``time`` [s], between physics steps."""
        heapq.heappush(self._events, (time, next(self._order), event))

    def write(self, data: bytes) -> None:
        """The host puts ``data`` on the wire now."""
        self.line.write(data, self.time)

    def advance(self, time: float) -> None:
        """Let everything happen until ``time`` [s]; earlier times change nothing."""
        while True:
            due = min(time, self._next_due())
            if due > self.time:
                self.plant.advance(due)
                self.time = due
            for servo in self.servos:
                servo.supervise(self.time)
            if self.line.next_heard() <= self.time:
                self.line.hear()
            elif self._events and self._events[0][0] <= self.time:
                heapq.heappop(self._events)[2]()
            elif any(s.controlling for s in self.servos) and self._next_control <= self.time:
                for servo in self.servos:
                    if servo.controlling:
                        servo.control()
                self._next_control = self.time + CONTROL_PERIOD
            elif self.time >= time:
                return

    def _next_due(self) -> float:
        due = min(self.line.next_heard(), *(servo.watchdog_due for servo in self.servos))
        if self._events:
            due = min(due, self._events[0][0])
        if any(servo.controlling for servo in self.servos):
            due = min(due, max(self._next_control, self.time))
        return due
