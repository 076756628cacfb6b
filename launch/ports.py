"""The ports of a robot's lines, as the command line names them."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator

from ..hardware.port import Port
from ..hardware.robot import Line, Robot
from ..hardware.serial_port import SerialPort
from .emulate import emulator_process
from .virtual import OptionError, VirtualConfig

VIRTUAL = "virtual"
ROBOT_FILE = "robot.toml"  # as a port: those that file names


def add_option(parser: argparse.ArgumentParser) -> None:
    """``--port`` of a verb that opens a robot's lines itself."""
    parser.add_argument(
        "--port",
        default=ROBOT_FILE,
        help="a device path, a name by id, VID:PID:SERIAL or a pyserial URL (LINE=PORT,LINE=PORT "
        "for a robot with several lines), or `virtual` for an emulator of its own (default: the "
        "ports robot.toml names)",
    )


@contextlib.contextmanager
def line_opener(name: str, robot: Robot, port: str) -> Iterator[Callable[[Line], Port]]:
    """A function that opens the port of a line; an emulator of its own is ended afterwards.

    Args:
        name: as ``load_robot`` took it.
        robot: that robot.
        port: the value of ``--port``.

    Raises:
        OptionError: ``port`` does not name one for every line.
        PortError: the emulator did not come up.
    """
    with contextlib.ExitStack() as stack:
        if port == VIRTUAL:
            lines = [line.name for line in robot.line]
            found = stack.enter_context(emulator_process(name, VirtualConfig(), None))
            urls = dict(zip(lines, found, strict=True))
        else:
            urls = named_ports(robot, port)
        yield lambda line: SerialPort(urls[line.name], line.baud)


def named_ports(robot: Robot, text: str) -> dict[str, str]:
    """The port of every line, as ``--port`` names them.

    Raises:
        OptionError: it does not name one for every line.
    """
    lines = {line.name: line.port for line in robot.line}
    if text == ROBOT_FILE:
        if missing := [name for name, port in lines.items() if not port]:
            raise OptionError(
                f"robot.toml names no port for line {', '.join(missing)}; add `port` there, or "
                "give --port"
            )
        return lines
    if len(lines) == 1:
        return dict.fromkeys(lines, text)
    given: dict[str, str] = {}
    for part in text.split(","):
        line, _, port = part.partition("=")
        given[line.strip()] = port.strip()
    if set(given) != set(lines):
        example = ",".join(f"{name}=PORT" for name in lines)
        raise OptionError(f"{robot.name} has several lines; write --port {example}")
    return given
