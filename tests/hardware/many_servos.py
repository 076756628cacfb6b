"""Robots of any number of servos on any lines, virtual, in lock-step."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from retort.hardware import Robot, RobotBus, RobotState, open_bus
from retort.hardware.parsing import parse
from retort.hardware.virtual import (
    Emulator,
    Faults,
    LockstepClock,
    LockstepPort,
    RigidPlant,
    VirtualRobot,
)

MOTION = {"values": ["effort", "velocity", "position"]}
MODELS = {"dynamixel2": "xl330-m288", "feetech": "sts3215"}


def robot_of(
    models: Sequence[str] = ("xl330-m288",) * 12,
    *,
    lines: Sequence[str] = (),
    protocols: Sequence[str] = ("dynamixel2",),
    mode: str = "position",
    control_rate: float = 100.0,
    imu: str = "",
    **more,
) -> Robot:
    """A robot of servos ``joint_1`` on, ids from 1 on each line.

    Args:
        models: of the servos.
        lines: the line of each servo, "a", "b" ...; all on "a" if not given.
        protocols: of lines "a", "b" ...
        mode: of all servos.
        control_rate: [Hz]
        imu: line of a sensor board with id 100; none if empty. It is asked first.
        **more: further keys of robot.toml's top level.
    """
    lines = lines or ("a",) * len(models)
    joints = []
    for number, (model, line) in enumerate(zip(models, lines, strict=True), 1):
        id = sum(before == line for before in lines[:number])
        joint = {"name": f"joint_{number}", "line": line, "id": id, "servo": model, "mode": mode}
        joints.append(joint)
    read = {"order": [*(["imu"] if imu else []), *(j["name"] for j in joints)]}
    read |= more.pop("read", {})
    table = {
        "name": "servos",
        "folder": Path("/nowhere"),
        "model": "servos.xml",
        "control_rate": control_rate,
        "read_fraction": 0.4,
        "watchdog": 0.1,
        "line": [
            {"name": name, "protocol": protocol, "baud": 1_000_000}
            for name, protocol in zip("abcdef", protocols, strict=False)
        ],
        "joint": joints,
        "read": read,
        "ramp": {"kind": "pose"},
        "damp": {"kind": "hold"},
        "safety": {"tilt": 1.0, "stale_ticks": 5, "slew": 10.0},
        **more,
    }
    if imu:
        table["imu"] = {"line": imu, "id": 100, "model": "retort-imu"}
    return parse(Robot, table)


class Bench:
    """A virtual robot with a bus on it; every byte that passed is kept as (time, way, bytes)."""

    def __init__(
        self, robot: Robot, *faults, seed: int = 0, keep: bool = True, **plant: float
    ) -> None:
        self.robot = robot
        self.plant = RigidPlant(robot, **plant)
        self.virtual = VirtualRobot(robot, self.plant, seed=seed, faults=Faults(*faults))
        self.clock = LockstepClock(self.virtual)
        self.bytes: list[tuple[float, str, bytes]] = []
        self.bus: RobotBus = open_bus(
            robot,
            self.open,
            self.clock,
            (lambda *event: self.bytes.append(event)) if keep else None,
        )

    def open(self, line) -> LockstepPort:
        return LockstepPort(self.virtual, self.clock, line.name)

    def ready(self) -> Bench:
        """Identified without a problem, prepared, torque on."""
        assert [text for report in self.bus.identify() for text in report.problems] == []
        self.bus.prepare()
        assert self.bus.torque(True) == ()
        return self

    def read(self) -> RobotState:
        """One read within the budget."""
        return self.bus.read(self.clock.now() + self.robot.read_fraction * self.robot.period)

    def reads(self, count: int) -> list[RobotState]:
        """``count`` reads at the control rate."""
        start, states = self.clock.now(), []
        for tick in range(count):
            self.clock.sleep_until(start + tick * self.robot.period)
            states.append(self.read())
        self.clock.sleep_until(start + count * self.robot.period)
        return states

    def sum_of(self, field: str) -> int:
        """Of a counter, over all devices."""
        return sum(getattr(counter, field) for counter in self.bus.counters.values())


@contextlib.contextmanager
def served(virtual: VirtualRobot, link: Path | None = None) -> Iterator[Emulator]:
    """``virtual`` on pseudo-terminals in real time, by a thread."""
    emulator, up = Emulator(virtual, link), threading.Event()
    thread = threading.Thread(target=emulator.serve, args=(lambda _: up.set(),))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # a host that polls without pause leaves the thread its turn
    thread.start()
    try:
        assert up.wait(10.0)
        yield emulator
    finally:
        emulator.stop()
        thread.join(10.0)
        sys.setswitchinterval(interval)
    assert not thread.is_alive()


def valid(state: RobotState) -> list[bool]:
    """Of the joints."""
    return np.asarray(state.joint_valid).tolist()
