"""``retort recover``: a robot's servos brought back after a fault, without motion."""

from __future__ import annotations

import argparse
import textwrap

from ..hardware.clock import RealClock
from ..hardware.recover import recover
from ..hardware.robot import load_robot
from ..hardware.robot_bus import open_bus
from . import ports

WIDTH = 80


def add_parser(verbs) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser(
        "recover",
        help="bring servos back after a fault, without motion",
        description="Switch torque off everywhere, reboot what has latched an error, write again "
        "what RAM has lost, forget whole turns, set goals to where the servos are, and verify "
        "everything. Torque stays off: hold up what would sink. Settings kept without power are "
        "never written. A Feetech servo cannot be rebooted by any confirmed instruction; where "
        "torque-off does not clear its fault, what to do by hand is said.",
    )
    parser.add_argument("robot", help="a robot's name, or a folder with a robot.toml")
    ports.add_option(parser)
    parser.set_defaults(act=main)


def main(options: argparse.Namespace) -> int:
    """Recover, say what was done, and whether the robot is well."""
    robot = load_robot(options.robot)
    width = max(len(name) for name in robot.read.order)
    with ports.line_opener(options.robot, robot, options.port) as opener:
        bus = open_bus(robot, opener, RealClock())
        try:
            recovery = recover(bus, lambda name, done: print(_row(name, width, done)))
        finally:
            bus.close()
    if recovery.problems:
        print("to be mended:")
    for problem in recovery.problems:
        print(textwrap.fill(problem, WIDTH, initial_indent="- ", subsequent_indent="  "))
    if recovery.problems:
        print(f"{robot.name} is not ready; its torque is off wherever that is said above")
        return 1
    count = len(recovery.reports)
    print(f"{robot.name} is well: {count} devices verified, torque off")
    return 0


def _row(name: str, width: int, done: str) -> str:
    indent = " " * (width + 4)
    return textwrap.fill(
        done, WIDTH, initial_indent=f"  {name:{width}}  ", subsequent_indent=indent
    )
