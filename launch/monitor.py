"""``retort monitor``: a robot's devices in a live table. Nothing is written to any of them."""

from __future__ import annotations

import argparse
import contextlib
import math
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator

from ..hardware.clock import Clock, RealClock
from ..hardware.errors import DeviceError, PortError
from ..hardware.port import Port
from ..hardware.robot import Line, Robot, load_robot
from ..hardware.watch import Row, View, Watch
from . import ports

WIDTH = 80
NAME = 14
REDRAW = 0.25  # [s] between two tables on a terminal
REPRINT = 1.0  # [s] between two tables elsewhere
LOOK_AGAIN = 3.0  # [s] between two looks for what does not answer
ONCE = 25  # readings behind the one table of --once
HEADER = (
    f"{'joint':{NAME}} {'rad':>8} {'rad/s':>8} {'N·m':>7} {'A':>6} {'°C':>4} {'V':>5} {'lost':>6}"
    "  state"
)
_HOME, _TO_LINE_END, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"
_SCREEN, _BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def add_parser(verbs) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser(
        "monitor",
        help="show a robot's servos in a live table",
        description="Show position, velocity, effort, current, temperature, voltage, errors and "
        "lost answers of every device, until Ctrl-C. Nothing is written to any device: torque "
        "stays as it is.",
    )
    parser.add_argument("robot", help="a robot's name, or a folder with a robot.toml")
    ports.add_option(parser)
    parser.add_argument("--once", action="store_true", help="print one table and end")
    parser.set_defaults(act=main)


def main(options: argparse.Namespace) -> int:
    """Show the table until Ctrl-C, SIGTERM or SIGHUP, or once.

    Raises:
        DeviceError: with ``--once``, no servo answers.
        PortError: a port cannot be opened; with ``--once``, it goes away.
    """
    robot = load_robot(options.robot)
    with ports.line_opener(options.robot, robot, options.port) as opener:
        if options.once:
            return _once(robot, opener)
        Watch(robot, opener, RealClock()).close()  # what cannot be opened at all is said at once
        with contextlib.suppress(KeyboardInterrupt), _ended_by_signals():
            live = _live() if sys.stdout.isatty() else contextlib.nullcontext(_print)
            with live as show:
                _watch(robot, opener, RealClock(), show)
    return 0


def table(view: View, width: int = WIDTH) -> list[str]:
    """The screen, in lines of at most ``width`` characters."""
    share = view.lost / view.asked if view.asked else 0.0
    lines = [
        f"{view.robot}: {view.rate:.1f} readings/s, {view.lost} of {view.asked} answers lost "
        f"({_percent(share)})",
        "",
        HEADER,
        *(_joint_line(row, width) for row in view.joints),
    ]
    if view.imu is not None:
        imu = view.imu
        tilt = f"tilt {_number(imu.tilt, 6, 3)} rad" if not math.isnan(imu.tilt) else ""
        rate = "".join(_number(value, 7, 2) for value in imu.angular_velocity)
        force = "".join(_number(value, 7, 2) for value in imu.linear_acceleration)
        lines += [
            "",
            f"{'imu':{NAME}} {tilt:15}  lost {_percent(imu.lost):>6}  {imu.state}",
            f"{'':{NAME}} rad/s{rate}   m/s²{force}",
        ]
    if cut := [row for row in view.joints if _joint_line(row, width).endswith("…")]:
        lines.append("")
        for row in cut:
            lines += textwrap.wrap(f"{row.name}: {row.state}", width, subsequent_indent="  ")
    if view.problems:
        lines += ["", "to be mended before torque:"]
        for problem in view.problems:
            lines += textwrap.wrap(problem, width, initial_indent="- ", subsequent_indent="  ")
    return lines


def _joint_line(row: Row, width: int) -> str:
    numbers = (
        f"{_number(row.position, 8, 3)} {_number(row.velocity, 8, 3)} {_number(row.effort, 7, 3)} "
        f"{_number(row.current, 6, 2)} {_number(row.temperature, 4, 0)} "
        f"{_number(row.voltage, 5, 1)} {_percent(row.lost):>6}"
    )
    return _cut(f"{_cut(row.name, NAME):{NAME}} {numbers}  {row.state}", width)


def _number(value: float, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if math.isnan(value) else f"{value:{width}.{digits}f}"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _once(robot: Robot, opener: Callable[[Line], Port]) -> int:
    watch = Watch(robot, opener, RealClock())
    try:
        for _ in range(ONCE):
            watch.read()
        view = watch.view()
    finally:
        watch.close()
    print("\n".join(table(view)))
    if not view.asked:
        raise DeviceError(
            f"no servo of {robot.name} answers; check the supply and the cables, or look with "
            "`retort scan PORT`"
        )
    return 0


def _watch(
    robot: Robot,
    opener: Callable[[Line], Port],
    clock: Clock,
    show: Callable[[list[str]], None],
) -> None:
    """Show tables for ever; a port that goes away is waited for."""
    every = REDRAW if sys.stdout.isatty() else REPRINT
    while True:
        try:
            watch = Watch(robot, opener, clock)
        except PortError as error:
            show(textwrap.wrap(f"{error}; waiting for it", WIDTH))
            clock.sleep_until(clock.now() + REPRINT)
            continue
        try:
            until = clock.now() + LOOK_AGAIN if watch.missing else math.inf
            while clock.now() < until:
                shown = clock.now() + every
                while clock.now() < shown:
                    watch.read()
                watch.look()
                show(table(watch.view()))
        except PortError as error:
            show(textwrap.wrap(f"{error}; waiting for it", WIDTH))
            clock.sleep_until(clock.now() + REPRINT)
        finally:
            watch.close()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP do what Ctrl-C does: the terminal gets its screen back."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _live() -> Iterator[Callable[[list[str]], None]]:
    """A function that replaces the terminal's screen; what was on it comes back afterwards."""

    def show(lines: list[str]) -> None:
        rows = shutil.get_terminal_size().lines - 1
        body = "".join(f"{line}{_TO_LINE_END}\n" for line in lines[:rows])
        sys.stdout.write(f"{_HOME}{body}{_TO_END}")
        sys.stdout.flush()

    sys.stdout.write(_SCREEN)
    try:
        yield show
    finally:
        sys.stdout.write(_BACK)
        sys.stdout.flush()


def _print(lines: list[str]) -> None:
    print("\n".join([*lines, ""]), flush=True)
