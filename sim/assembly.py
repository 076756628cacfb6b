"""What emulator and bus will ask of a robot, asked before anything is trained for it."""

from __future__ import annotations

from ..hardware.errors import RobotFileError
from ..hardware.robot import Robot
from ..hardware.robot_bus import open_bus
from ..hardware.virtual import LockstepClock, LockstepPort, VirtualRobot
from .twin import Twin


def check_assembly(robot: Robot) -> None:
    """Build ``robot`` of virtual devices in MuJoCo, and let its bus identify them.

    It is what ``retort emulate`` builds and what ``retort run`` looks at before torque, in virtual
    time: whatever they refuse of robot.toml and MJCF is refused here, in their words. What the
    owner has set in real servos nobody knows yet.

    Raises:
        ModelError: the MJCF does not fit robot.toml.
        RobotFileError: devices cannot be what robot.toml says, or do what it asks.
    """
    virtual = VirtualRobot(robot, Twin(robot))
    clock = LockstepClock(virtual)
    bus = open_bus(robot, lambda line: LockstepPort(virtual, clock, line.name), clock)
    problems = [problem for report in bus.identify() for problem in report.problems]
    if problems:
        raise RobotFileError(f"{robot.name}: {'; '.join(problems)}")
