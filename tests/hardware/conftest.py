"""Virtual devices on flywheels, in lock-step: a balancer, and any line of servos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from retort.hardware import Robot, RobotBus, RobotState, load_robot, open_bus
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.parser import Status, StatusParser
from retort.hardware.virtual import Faults, LockstepClock, LockstepPort, RigidPlant, VirtualRobot

from .many_servos import robot_of


@dataclasses.dataclass
class Rig:
    """A bus, what is behind it, and every byte that passed: (time, direction, bytes)."""

    virtual: VirtualRobot
    clock: LockstepClock
    port: LockstepPort
    bus: RobotBus
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

    def set_firmware(self, version: int) -> None:
        """Of every servo; those below 46 know no fast sync read."""
        for servo in self.virtual.servos:
            servo.registers["firmware"] = version

    @staticmethod
    def valid(state: RobotState) -> tuple[bool, bool, bool]:
        """In the order the devices are asked."""
        return (bool(state.imu_valid), *map(bool, state.joint_valid))

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


class ServoLine:
    """Virtual DYNAMIXEL servos with ids from 1 on, asked packet by packet.

    Args:
        models: of the servos in order.
        mode: of all of them.
        **plant: see ``RigidPlant``.
    """

    def __init__(self, models: tuple[str, ...], mode: str, **plant) -> None:
        self.robot = robot_of(models, mode=mode)
        self.plant = RigidPlant(self.robot, **plant)
        self.virtual = VirtualRobot(self.robot, self.plant)
        self.servos = self.virtual.servos
        self.clock = LockstepClock(self.virtual)
        self.port = LockstepPort(self.virtual, self.clock)

    def ask(self, packet: bytes, answers: int = 1, fast_length: int = 0) -> list[Status]:
        """As many answers as there should be, or those that came within 50 ms."""
        self.port.write(packet)
        parser, deadline = StatusParser(fast_length), self.clock.now() + 0.05
        got: list[Status] = []
        while len(got) < answers and self.clock.now() < deadline:
            got += parser.feed(self.port.read(parser.needs, deadline))
        return got

    def wait(self, seconds: float) -> None:
        self.clock.sleep_until(self.clock.now() + seconds)

    def read(self, name: str, id: int = 1) -> int:
        register = self.servos[id - 1].table.register(name)
        (answer,) = self.ask(codec.read(id, register.address, register.size))
        return register.decode(answer.data)

    def write(self, name: str, value: int, id: int = 1) -> int:
        """The error it is answered with."""
        register = self.servos[id - 1].table.register(name)
        (answer,) = self.ask(codec.write(id, register.address, register.encode(value)))
        return answer.error


@pytest.fixture
def servo_line() -> Callable[..., ServoLine]:
    def make(*models: str, mode: str = "position", **plant) -> ServoLine:
        return ServoLine(models or ("xl330-m288",), mode, **plant)

    return make
