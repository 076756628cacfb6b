"""The ``Bus`` of a robot on one or more lines, whatever their protocols."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .bus import DeviceCounters, DeviceReport
from .clock import Clock
from .dynamixel.driver import DynamixelDriver
from .dynamixel.line import DynamixelLine
from .errors import DeviceError, PortError, RobotFileError
from .feetech.driver import FeetechDriver
from .feetech.line import FeetechLine
from .line import ATTEMPTS, Line, Tap
from .line_driver import Device, LineDriver, devices_of, servos_among
from .port import Port
from .readings import Readings
from .robot import Line as LineConfig
from .robot import Robot
from .state import JointCommand, RobotState

# Line and driver by `protocol` of a [[line]] in robot.toml.
DRIVERS: dict[str, tuple[Callable[..., Line], Callable[..., LineDriver]]] = {
    "dynamixel2": (DynamixelLine, DynamixelDriver),
    "feetech": (FeetechLine, FeetechDriver),
}

Ports = Port | Mapping[str, Port] | Callable[[LineConfig], Port]


def open_bus(robot: Robot, ports: Ports, clock: Clock, tap: Tap | None = None) -> RobotBus:
    """The bus of ``robot``. Puts nothing on the wire.

    Args:
        robot: what should be there.
        ports: the open port of its only line, open ports by the lines' names, or a function that
            opens the port of a line: then the bus can also ``reopen`` them. The bus closes them.
        clock: the ports' time.
        tap: sees every byte as (time, "out" or "in", bytes).

    Raises:
        RobotFileError: robot.toml asks for what its lines' protocols cannot do.
        PortError: a port cannot be opened.
    """
    if callable(ports):
        return RobotBus(robot, ports, clock, tap)
    if not isinstance(ports, Mapping):
        if len(robot.line) != 1:
            names = ", ".join(line.name for line in robot.line)
            raise RobotFileError(
                f"{robot.name} has {len(robot.line)} lines, got one port; name one each for {names}"
            )
        ports = {robot.line[0].name: ports}
    given: Mapping[str, Port] = ports
    if missing := [line.name for line in robot.line if line.name not in given]:
        raise RobotFileError(f"{robot.name}: there is no port for line {', '.join(missing)}")
    return RobotBus(robot, lambda line: given[line.name], clock, tap)


class RobotBus:
    """See ``Bus``. All lines are sent to first, then all are waited for; nothing is asked twice
    within a tick.

    Attributes:
        lines: by name, for everything outside a tick.
        drivers: of the lines, in the order of robot.toml.
    """

    def __init__(
        self,
        robot: Robot,
        opener: Callable[[LineConfig], Port],
        clock: Clock,
        tap: Tap | None = None,
    ) -> None:
        self.robot = robot
        self.clock = clock
        self._opener = opener
        self._readings = Readings(robot)
        self._prepared = False
        self.lines: dict[str, Line] = {}
        drivers: list[Any] = []
        with contextlib.ExitStack() as stack:
            for config in robot.line:
                line_type, driver = DRIVERS[config.protocol]
                port = opener(config)
                stack.callback(port.close)
                line = line_type(port, clock, tap, config.echo)
                self.lines[config.name] = line
                drivers.append(driver(robot, devices_of(robot, config.name), line, self._readings))
            stack.pop_all()
        self.drivers: tuple[LineDriver, ...] = tuple(drivers)
        self._servos: list[tuple[LineDriver, Device]] = sorted(
            ((driver, device) for driver in drivers for device in servos_among(driver.devices)),
            key=lambda pair: pair[1].index,
        )

    @property
    def line(self) -> Line:
        """The only line of a robot that has one.

        Raises:
            ValueError: it has several; ask ``lines`` by name.
        """
        (line,) = self.lines.values()
        return line

    @property
    def counters(self) -> dict[str, DeviceCounters]:
        """Per device, in the order of robot.toml's ``[read] order``."""
        counted: dict[str, DeviceCounters] = {}
        for driver in self.drivers:
            counted |= driver.roll.counters
        return {name: counted[name] for name in self.robot.read.order}

    @property
    def silent(self) -> tuple[str, ...]:
        """Devices that have been silent so long that they are only probed."""
        return tuple(name for driver in self.drivers for name in driver.roll.silent)

    def identify(self) -> tuple[DeviceReport, ...]:
        """As ``Bus.identify``: joints in order, then the sensor."""
        reports: dict[str, DeviceReport] = {}
        failures: list[str] = []
        with self._disarmed_if_lost():
            for driver in self.drivers:
                try:
                    reports |= {report.name: report for report in driver.identify()}
                except DeviceError as error:
                    failures.append(str(error))
        if failures:
            raise DeviceError("; ".join(failures))
        names = [*self.robot.joints, *(["imu"] if self.robot.imu else [])]
        return tuple(reports[name] for name in names)

    def prepare(self) -> None:
        """As ``Bus.prepare``; switches torque off first."""
        self._prepared = False
        with self._disarmed_if_lost():
            for driver in self.drivers:
                driver.torque_off_all()
            for driver in self.drivers:
                driver.prepare()
        self._prepared = True

    def read(self, deadline: float) -> RobotState:
        began = self.clock.now()
        readings = self._readings
        readings.begin()
        if began > deadline:  # whatever would come now is too late to be believed: nobody is asked
            return readings.state(began)
        try:
            for driver in self.drivers:
                driver.request()
            for driver in self.drivers:
                driver.collect(deadline)
        except PortError:
            self._prepared = False
            raise
        return readings.state(began)

    def write(self, command: JointCommand) -> None:
        target = np.asarray(command.target, dtype=float)
        # Faster than NumPy on so few. Even finite targets may have a sum that is not.
        values = target.tolist()
        if not math.isfinite(sum(values)) and not all(map(math.isfinite, values)):
            raise ValueError(f"targets must be finite, got {target}")
        try:
            for driver in self.drivers:
                driver.send(target)
        except PortError:
            self._prepared = False
            raise

    def torque(self, on: bool) -> tuple[str, ...]:
        """As ``Bus.torque``. Before torque-on, effort and velocity goals are set to nothing."""
        left = list(self._servos)
        if on and not self._prepared:
            return tuple(device.name for _, device in left)
        for driver in self.drivers:  # all at once first: nobody waits for a silent one's answer
            with contextlib.suppress(PortError):  # said below, by every servo not confirmed
                (driver.rest if on else driver.torque_off_all)()
        for _ in range(ATTEMPTS):  # everyone once before anyone twice
            left = [pair for pair in left if not self._torque_of(*pair, on)]
            if not left:
                break
        return tuple(device.name for _, device in left)

    def reopen(self) -> tuple[DeviceReport, ...]:
        """Open every port anew after one has gone away, and identify every device.

        Torque cannot be switched on before ``prepare`` has written everything again.

        Raises:
            PortError: a port is not back yet.
            DeviceError: a device does not answer.
        """
        self._prepared = False
        for line in self.lines.values():
            line.port.close()
        for config in self.robot.line:
            self.lines[config.name].port = self._opener(config)
        return self.identify()

    def close(self) -> None:
        for line in self.lines.values():
            line.port.close()

    def _torque_of(self, driver: LineDriver, device: Device, on: bool) -> bool:
        try:
            return driver.torque_of(device, on)
        except PortError:
            self._prepared = False
            return False

    @contextlib.contextmanager
    def _disarmed_if_lost(self) -> Iterator[None]:
        try:
            yield
        except PortError:
            self._prepared = False
            raise
