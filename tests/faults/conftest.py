"""The balancer's virtual devices on flywheels in lock-step, asked packet by packet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from retort.hardware import load_robot
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.parser import Status, StatusParser
from retort.hardware.virtual import Faults, LockstepClock, LockstepPort, RigidPlant, VirtualRobot
from retort.hardware.virtual.faults import Fault

PERIOD = 0.01  # [s] between two requests
PATIENCE = 0.005  # [s]


class Asker:
    """A host on the balancer's virtual line.

    Attributes:
        bytes: everything that came back, by request.
    """

    def __init__(self, faults: Sequence[Fault] = (), seed: int = 0, **more) -> None:
        self.robot = load_robot("balancer")
        self.plant = RigidPlant(self.robot)
        self.virtual = VirtualRobot(self.robot, self.plant, seed, Faults(*faults), **more)
        self.clock = LockstepClock(self.virtual)
        self.port = LockstepPort(self.virtual, self.clock)
        self.bytes: list[bytes] = []

    def raw(self, packet: bytes, patience: float = PATIENCE) -> bytes:
        """Everything that comes within ``patience`` of a request."""
        self.port.write(packet)
        self.bytes.append(self.port.read(10_000, self.clock.now() + patience))
        return self.bytes[-1]

    def ask(self, packet: bytes, patience: float = PATIENCE) -> list[Status]:
        parser = StatusParser()
        return [*parser.feed(self.raw(packet, patience)), *parser.flush()]

    def pings(self, count: int, id: int = 1) -> list[bool]:
        """Whether each of ``count`` pings, one per period, was answered."""
        start, heard = self.clock.now(), []
        for tick in range(count):
            self.clock.sleep_until(start + tick * PERIOD)
            heard.append(bool(self.ask(codec.ping(id))))
        return heard

    def register(self, name: str, device: str = "left_wheel") -> int:
        """A register as the line gives it."""
        found = self.virtual.device(device)
        register = found.table.register(name)
        (status,) = self.ask(codec.read(found.id, register.address, register.size))
        return register.decode(status.data)

    def write(self, name: str, value: int, device: str = "left_wheel") -> None:
        found = self.virtual.device(device)
        register = found.table.register(name)
        assert self.ask(codec.write(found.id, register.address, register.encode(value)))


@pytest.fixture
def asker() -> Callable[..., Asker]:
    return Asker
