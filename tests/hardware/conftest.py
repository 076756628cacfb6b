"""A balancer of virtual devices on flywheels, in lock-step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from retort.hardware import DynamixelBus, Robot, load_robot, open_bus
from retort.hardware.virtual import Faults, LockstepClock, LockstepPort, RigidPlant, VirtualRobot


@dataclasses.dataclass
class Rig:
    """A bus, what is behind it, and every byte that passed: (time, direction, bytes)."""

    virtual: VirtualRobot
    clock: LockstepClock
    port: LockstepPort
    bus: DynamixelBus
    bytes: list[tuple[float, str, bytes]]

    @property
    def plant(self) -> RigidPlant:
        plant = self.virtual.plant
        assert isinstance(plant, RigidPlant)
        return plant

    def ready(self) -> Rig:
        """Identified, prepared, torque on."""
        self.bus.identify()
        self.bus.prepare()
        assert self.bus.torque(True) == ()
        return self

    def reads(self, count: int) -> list:
        """``count`` reads at the control rate, each within the read budget."""
        robot = self.bus.robot
        start, states = self.clock.now(), []
        for tick in range(count):
            self.clock.sleep_until(start + tick * robot.period)
            states.append(self.bus.read(self.clock.now() + robot.read_fraction * robot.period))
        return states


@pytest.fixture(scope="session")
def robot() -> Robot:
    return load_robot("balancer")


@pytest.fixture
def make_rig(robot: Robot) -> Callable[..., Rig]:
    def make(faults: Faults | None = None, seed: int = 0, robot: Robot = robot, **plant) -> Rig:
        virtual = VirtualRobot(robot, RigidPlant(robot, **plant), seed=seed, faults=faults)
        clock = LockstepClock(virtual)
        port = LockstepPort(virtual, clock)
        log: list[tuple[float, str, bytes]] = []
        bus = open_bus(robot, port, clock, lambda *event: log.append(event))
        return Rig(virtual, clock, port, bus, log)

    return make


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()
