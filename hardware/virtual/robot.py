"""A whole virtual robot: devices on their line and the plant they turn, in one time."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import RobotFileError
from ..plant import Plant
from ..robot import Robot
from .encoders import Encoders
from .faults import Fault, Faults, LastingFault, check_names
from .imu import ImuErrors, VirtualImu
from .injection import ACTIONS, FaultCounts, Injector
from .line import VirtualLine
from .protocols import PROTOCOLS, VirtualProtocol
from .servo import CONTROL_PERIOD


class VirtualRobot:
    """The devices robot.toml names, with EEPROM as it demands, on one virtual line per [[line]].

    Time stands still between calls; ``advance`` plays everything due, in order: packets heard,
    watchdogs, the servos' own loops, scheduled events, physics.

    Args:
        robot: what to build.
        plant: what its motors turn.
        seed: of faults and sensor noise.
        faults: none by default.
        imu_errors: none by default.

    Raises:
        FaultError: ``faults`` name what the robot does not have.
        RobotFileError: there are no virtual devices for what robot.toml names.

    Attributes:
        lines: by name.
        servos: in joint order.
        imu: the sensor board, if the robot has one.
        ids: every device's, by name, as robot.toml has them.
        encoders: the plant as servos see it; breaks and mends them.
        injector: what goes wrong on the lines.
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
        first, imu_random, *others = (
            np.random.default_rng(child)
            for child in np.random.SeedSequence(seed).spawn(1 + len(robot.line))
        )
        self.robot = robot
        self.plant = plant
        self.time = 0.0
        self.injector = Injector(seed, faults.seed if faults else 0)
        self.encoders = Encoders(plant)
        self.lines = {
            line.name: VirtualLine(line.baud, self.injector, random, line.echo)
            for line, random in zip(robot.line, (first, *others), strict=True)
        }
        bauds = {line.name: line.baud for line in robot.line}
        protocols = {line.name: _protocol(line.protocol) for line in robot.line}
        self.servos = tuple(
            protocols[joint.line].servo(joint, bauds[joint.line], self.encoders, index)
            for index, joint in enumerate(robot.joint)
        )
        self.imu: VirtualImu | None = None
        if robot.imu:
            build = protocols[robot.imu.line].imu
            if build is None:
                raise RobotFileError(
                    f"{robot.name}: there is no virtual sensor board for the protocol of line "
                    f"{robot.imu.line!r}; put [imu] on a dynamixel2 line"
                )
            self.imu = build(robot.imu, bauds[robot.imu.line], plant, imu_random, imu_errors)
        for name, line in self.lines.items():
            there = [s for s, j in zip(self.servos, robot.joint, strict=True) if j.line == name]
            if self.imu is not None and robot.imu is not None and robot.imu.line == name:
                there.append(self.imu)
            line.attach(protocols[name].responder(line, there))
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._next_control = 0.0
        self.ids = {device.name: device.registers["id"] for device in self.devices}
        for fault in faults or ():
            self.inject(fault)

    @property
    def line(self) -> VirtualLine:
        """The only line of a robot that has one.

        Raises:
            ValueError: it has several; ask ``lines`` by name.
        """
        if len(self.lines) != 1:
            raise ValueError(f"{self.robot.name} has the lines {', '.join(self.lines)}; name one")
        return next(iter(self.lines.values()))

    @property
    def devices(self) -> tuple[Any, ...]:
        """Servos, then the sensor board."""
        return (*self.servos, self.imu) if self.imu else self.servos

    @property
    def fault_counts(self) -> FaultCounts:
        """What has been injected so far, on all lines."""
        return self.injector.counts

    def device(self, name: str) -> Any:
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
        """The host puts ``data`` on the only line now."""
        self.line.write(data, self.time)

    def inject(self, fault: Fault) -> None:
        """Let ``fault`` act from its time on.

        Raises:
            FaultError: it names what the robot does not have.
        """
        check_names(fault, self.robot)
        self.injector.add(fault)
        act = ACTIONS.get(type(fault))
        if act is None:  # the injector sees to it
            return
        self.schedule(max(fault.at, self.time), lambda: self._begin(fault))
        if isinstance(fault, LastingFault) and fault.until < math.inf:
            self.schedule(fault.until, lambda: act(self, fault, False))

    def unplug(self, line: str = "") -> None:
        """Take the host's adapter of a line away; of every line, if none is named."""
        for name in self._line_names(line):
            self.lines[name].unplug()

    def replug(self, line: str = "") -> None:
        """Plug the host's adapter in again."""
        for name in self._line_names(line):
            self.lines[name].replug()

    def power_off(self, device: str = "") -> None:
        """Cut the supply of a device, or of all: it is deaf and lets go; RAM is lost."""
        for found in self._named(device):
            found.reboot(math.inf)

    def power_on(self, device: str = "") -> None:
        """Give a device, or all, its supply: it boots."""
        for found in self._named(device):
            found.reboot(self.time)

    def power_cycle(self, device: str = "", seconds: float = 0.5) -> None:
        """Cut the supply for ``seconds``."""
        if not 0.0 < seconds < math.inf:
            raise ValueError(f"seconds is {seconds}; it must be positive and finite")
        self.power_off(device)
        self.schedule(self.time + seconds, lambda: self.power_on(device))

    def connect_only(self, *devices: str) -> None:
        """Leave only these devices' cables plugged; all devices', if none is named."""
        names = frozenset(self.device(name).name for name in devices)
        for line in self.lines.values():
            line.connected = names or None

    def next_heard(self) -> float:
        """When devices on any line will next have heard all of a write [s]."""
        return min(line.next_heard() for line in self.lines.values())

    def next_change(self) -> float:
        """When a write will have been heard or an event is due [s], whichever comes first."""
        due = self.next_heard()
        return min(due, self._events[0][0]) if self._events else due

    def advance(self, time: float) -> None:
        """Let everything happen until ``time`` [s]; earlier times change nothing."""
        while True:
            due = min(time, self._next_due())
            if due > self.time:
                self.encoders.advance(due)
                self.time = due
            for servo in self.servos:
                servo.supervise(self.time)
            heard = next((ln for ln in self.lines.values() if ln.next_heard() <= self.time), None)
            if heard is not None:
                heard.hear()
            elif self._events and self._events[0][0] <= self.time:
                heapq.heappop(self._events)[2]()
            elif any(s.controlling for s in self.servos) and self._next_control <= self.time:
                for servo in self.servos:
                    if servo.controlling:
                        servo.control()
                self._next_control = self.time + CONTROL_PERIOD
            elif self.time >= time:
                return

    def _begin(self, fault: Fault) -> None:
        self.injector.counts.events += 1
        ACTIONS[type(fault)](self, fault, True)

    def _named(self, device: str) -> list[Any]:
        return [self.device(device)] if device else list(self.devices)

    def _line_names(self, line: str) -> list[str]:
        if line and line not in self.lines:
            raise KeyError(f"there is no line {line!r}; there are {', '.join(self.lines)}")
        return [line] if line else list(self.lines)

    def _next_due(self) -> float:
        due = min(self.next_change(), *(servo.watchdog_due for servo in self.servos))
        if any(servo.controlling for servo in self.servos):
            due = min(due, max(self._next_control, self.time))
        return due


def _protocol(name: str) -> VirtualProtocol:
    if name not in PROTOCOLS:
        raise RobotFileError(
            f"there are no virtual devices for the protocol {name!r}; there are for "
            f"{', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[name]
