"""The only holder of the bus's writing side. Sends nothing but what the gate returned."""

from __future__ import annotations

from typing import Protocol

from ..hardware.bus import Bus, DeviceCounters, DeviceReport
from ..hardware.clock import Clock
from ..hardware.robot import Robot
from ..hardware.state import JointCommand, RobotState
from .gate import GateResult

TORQUE_OFF_ATTEMPTS = 3


class ReadableBus(Protocol):
    """The side of a bus that cannot move anything: what everybody but the writer is given."""

    robot: Robot
    clock: Clock

    def identify(self) -> tuple[DeviceReport, ...]: ...

    def read(self, deadline: float) -> RobotState: ...

    @property
    def counters(self) -> dict[str, DeviceCounters]: ...


class Writer:
    """Everything that can change a servo's state goes through here."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._names = bus.robot.joints
        self.last: JointCommand | None = None  # what was really sent last
        self.energised = False  # some servo has had torque

    def prepare(self) -> None:
        """Write and verify what must stand in the servos before torque.

        Raises:
            DeviceError: a register does not hold what was written.
        """
        self._bus.prepare()

    def send(self, result: GateResult) -> JointCommand:
        """Send what the gate let through; returns it.

        Raises:
            TypeError: anything but a ``GateResult``.
            PortError: the port has gone away.
        """
        if type(result) is not GateResult:
            raise TypeError(f"the writer takes a GateResult, got {type(result).__name__}")
        command = JointCommand(result.target)
        self._bus.write(command)
        self.last = command
        return command

    def torque_on(self) -> tuple[str, ...]:
        """Switch torque on; returns the names of the servos that did not confirm."""
        self.energised = True
        return self._bus.torque(True)

    def torque_off(self) -> dict[str, bool]:
        """Switch torque off on every servo, whatever happens; says which of them confirmed."""
        missing: tuple[str, ...] = self._names
        for _ in range(TORQUE_OFF_ATTEMPTS):
            try:
                missing = self._bus.torque(False)
            except Exception:  # a broken driver must not keep the next attempt from being made
                missing = self._names
            if not missing:
                break
        return {name: name not in missing for name in self._names}
