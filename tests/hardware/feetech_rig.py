"""A Feetech line's driver on virtual servos in lock-step, and what a bad wire does to its bytes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from retort.hardware import load_robot
from retort.hardware.feetech import codec
from retort.hardware.feetech.driver import FeetechDriver
from retort.hardware.feetech.line import FeetechLine
from retort.hardware.line_driver import devices_of
from retort.hardware.readings import Readings
from retort.hardware.robot import Joint, Line, Ramp, Robot
from retort.hardware.virtual import (
    Faults,
    LockstepClock,
    LockstepPort,
    RigidPlant,
    VirtualRobot,
)
from retort.hardware.virtual.faults import Fault

COUNT = math.tau / 4096
PERIOD = 0.01


def make_robot(count: int = 3, mode: str = "position", **joint) -> Robot:
    balancer = load_robot("balancer")
    joints = tuple(
        Joint(
            **{
                "name": f"joint{i}",
                "line": "main",
                "id": i + 1,
                "servo": "sts3215",
                "mode": mode,
                "zero": math.pi if mode == "position" else 0.0,
                "sign": -1 if i == 1 else 1,
                **joint,
            }
        )
        for i in range(count)
    )
    return dataclasses.replace(
        balancer,
        line=(Line(name="main", protocol="feetech", baud=1_000_000),),
        joint=joints,
        imu=None,
        ramp=Ramp(kind="pose"),
        read_fraction=0.4,
        read=dataclasses.replace(balancer.read, order=tuple(j.name for j in joints)),
    )


class Tampered(LockstepPort):
    """A port on which everything that comes in passes through ``tamper``."""

    def __init__(self, virtual: VirtualRobot, clock: LockstepClock) -> None:
        super().__init__(virtual, clock)
        self.tamper: Callable[[bytes], bytes] = bytes
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def read(self, size: int, deadline: float) -> bytes:
        return self.tamper(super().read(size, deadline))


class Rig:
    def __init__(self, robot: Robot, *faults: Fault, echo: bool = False, seed: int = 0) -> None:
        self.robot = robot
        self.plant = RigidPlant(robot, inertia=0.02, friction=0.0)
        for index, joint in enumerate(robot.joint):
            self.plant.turn(index, joint.zero + 0.1 * index)
        self.virtual = VirtualRobot(robot, self.plant, seed, Faults(*faults))
        self.virtual.line.echo = echo
        self.servos = self.virtual.servos
        for servo in self.servos:
            servo.reboot(-1.0)
        self.clock = LockstepClock(self.virtual)
        self.port = Tampered(self.virtual, self.clock)
        self.readings = Readings(robot)
        line = FeetechLine(self.port, self.clock, echo=echo)
        self.driver = FeetechDriver(robot, devices_of(robot, "main"), line, self.readings)

    def ready(self) -> Rig:
        self.driver.identify()
        self.driver.prepare()
        for device in self.driver.devices:
            assert self.driver.torque_of(device, True)
        return self

    def tick(self) -> list[bool]:
        """One read at the next multiple of the period; whose readings are fresh."""
        self.clock.sleep_until(PERIOD * math.ceil(self.clock.now() / PERIOD + 1e-6))
        return self.tick_now()

    def tick_now(self) -> list[bool]:
        self.readings.begin()
        self.driver.request()
        self.driver.collect(self.clock.now() + 0.4 * PERIOD)
        return self.readings.joint_fresh.tolist()

    def si(self, row: int) -> np.ndarray:
        return (self.readings.counts * self.readings.factor + self.readings.bias)[row]

    def total(self, field: str) -> int:
        """Of a counter, over all servos."""
        return sum(getattr(counter, field) for counter in self.driver.roll.counters.values())

    def counter(self, joint: int):
        return self.driver.roll.counters[f"joint{joint}"]


def flip(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    """``data`` with one bit inverted in a span of bytes."""
    at = int(random.integers(start, stop))
    return with_byte(data, at, data[at] ^ 1 << int(random.integers(8)))


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes((value,)) + data[at + 1 :]


def jumped(data: bytes, counts: int) -> bytes:
    """The first servo's answer with its position moved and a right checksum."""
    size = data[3] + 4
    frame = bytearray(data[:size])
    frame[5:7] = (int.from_bytes(frame[5:7], "little") + counts).to_bytes(2, "little")
    frame[-1] = codec.checksum(frame[2:-1])
    return bytes(frame) + data[size:]
