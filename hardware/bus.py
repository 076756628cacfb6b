"""The interface between a controller and a robot, whatever line and protocol lie behind it."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from .clock import Clock
from .robot import Robot
from .state import JointCommand, RobotState


@dataclasses.dataclass(frozen=True)
class DeviceReport:
    """What one device says of itself when asked, before torque."""

    name: str  # joint or "imu", as in robot.toml
    id: int
    model: str  # name in hardware/models, or "unknown (number 1234)"
    firmware: int
    mode: str  # "effort", "position", "velocity"; "" for a device that is not a servo
    limits: dict[str, float]  # SI: "position_min", "position_max", "velocity", "effort", ...
    gains: dict[str, float]  # register values: "position_p", ...
    torque: bool
    alert: bool
    problems: tuple[str, ...] = ()  # sentences: what must be mended before torque


@dataclasses.dataclass
class DeviceCounters:
    """Per-device statistics since the bus was opened; ``asked`` is the sum of all others."""

    asked: int = 0
    answered: int = 0
    missing: int = 0
    corrupt: int = 0
    late: int = 0
    lost_in_tail: int = 0  # unreadable only because a device before it was silent or corrupt
    refused: int = 0  # answered with an error instead of values
    # Intact and not believed: beyond what the joint can do, so that the checksum must have let a
    # damage pass, or from a servo that may have lost its power since.
    implausible: int = 0


class Bus(Protocol):
    """A robot on its line(s). Opened by its driver's ``open``; only ``controller`` writes to it."""

    robot: Robot
    clock: Clock

    def identify(self) -> tuple[DeviceReport, ...]:
        """Ask every device what it is. Writes nothing.

        Raises:
            DeviceError: a device does not answer.
        """
        ...

    def prepare(self) -> None:
        """Write what must stand in RAM before torque (watchdog, gains, goal = no motion) and read
        it back.

        Raises:
            DeviceError: a register does not hold what was written.
        """
        ...

    def read(self, deadline: float) -> RobotState:
        """The robot's state; returns by ``deadline`` [s, this bus's clock] with what arrived.

        Nothing is asked, and nothing is valid, if the deadline has passed already.
        """
        ...

    def write(self, command: JointCommand) -> None:
        """Send targets to all joints in one packet. Does not wait."""
        ...

    def torque(self, on: bool) -> tuple[str, ...]:
        """Switch torque of every servo; returns the names that did not confirm.

        Switching off is attempted on every servo whatever the others answer. Switching on needs
        ``prepare`` since the bus was opened, and since a port was lost. It does not raise.
        """
        ...

    @property
    def counters(self) -> dict[str, DeviceCounters]: ...

    def close(self) -> None: ...
