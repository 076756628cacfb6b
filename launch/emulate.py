"""``retort emulate``: the virtual robot on a pseudo-terminal, until it is told to stop."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from ..controller.realtime import quiet_gc, realtime
from ..hardware.clock import RealClock
from ..hardware.errors import PortError
from ..hardware.robot import load_robot
from . import virtual
from .virtual import VirtualConfig, VirtualWorld, require_mujoco

READY = "ready: "
PRIORITY = 20  # SCHED_FIFO, if granted
AFTERMATH = 0.3  # [s] served on after the parent has gone, for the log to tell what came of it
START_LIMIT = 30.0  # [s] for the emulator's process to come up


def add_parser(verbs) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser(
        "emulate",
        help="serve a virtual robot on a pseudo-terminal",
        description="Serve a virtual robot on a pseudo-terminal in real time until Ctrl-C; any "
        "program may open it as if it were the robot's serial port.",
    )
    parser.add_argument("robot", help="a robot's name, or a folder with a robot.toml")
    parser.add_argument(
        "--link",
        type=Path,
        metavar="PATH",
        help="make a link to the port here; a robot with several lines gets PATH-LINE for each",
    )
    parser.add_argument(
        "--control",
        type=Path,
        metavar="SOCKET",
        help="take commands on this Unix socket, one JSON object per line; see `retort control`",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="write what happens as JSON lines")
    parser.add_argument(
        "--until-eof", action="store_true", help="end when standard input does (for programs)"
    )
    virtual.add_options(parser)
    parser.set_defaults(act=emulate)


def emulate(options: argparse.Namespace) -> int:
    """Serve until a signal; returns the exit code."""
    require_mujoco("`retort emulate`")
    from ..hardware.virtual import Emulator

    robot = load_robot(options.robot)
    world = VirtualWorld(robot, virtual.from_options(options), options.log)
    emulator = Emulator(world.virtual, options.link, control=options.control)

    def ready(ports: dict[str, str]) -> None:
        world.follow_real_time()
        print(f"{READY}{' '.join(ports.values())}", flush=True)
        if not options.until_eof:
            where = ", ".join(ports.values())
            held = "is held upright and " if robot.ramp.kind == "upright_still" else ""
            print(
                f"{robot.name} {held}listens at {where}; Ctrl-C ends it.\n"
                f"In another terminal: retort run BUNDLE --port {_as_option(ports)}",
                file=sys.stderr,
            )

    if options.until_eof:
        threading.Thread(target=_stop_at_eof, args=(emulator,), daemon=True).start()
    try:
        # Servos do not wait for a processor that others keep busy; below the loop's own priority.
        with realtime(PRIORITY), quiet_gc():
            emulator.serve_until_signal(ready)
    finally:
        world.close()
    return 0


def _as_option(ports: dict[str, str]) -> str:
    """``ports`` as ``--port`` takes them."""
    if len(ports) == 1:
        return next(iter(ports.values()))
    return ",".join(f"{line}={port}" for line, port in ports.items())


@contextlib.contextmanager
def emulator_process(
    robot: str | Path, config: VirtualConfig, log: Path | None
) -> Iterator[tuple[str, ...]]:
    """An emulator in a process of its own; gives the ports to open, in the order of the robot's
    lines, and ends it afterwards.

    It runs in a session of its own, so that Ctrl-C reaches only the controller, which then has a
    robot to stop; and it ends with its parent, however that ends.

    Raises:
        PortError: it did not come up.
    """
    require_mujoco("`--port virtual`")
    with tempfile.TemporaryDirectory(prefix="retort-") as folder:
        link = Path(folder) / "port"
        command = [sys.executable, "-m", "retort.launch", "emulate", str(robot)]
        command += ["--link", str(link), "--until-eof", *virtual.as_options(config)]
        if log is not None:
            command += ["--log", str(log)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield _wait_until_ready(process)
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _wait_until_ready(process: subprocess.Popen[bytes]) -> tuple[str, ...]:
    assert process.stdout is not None
    clock = RealClock()
    deadline = clock.now() + START_LIMIT
    said = b""
    while not said.endswith(b"\n"):
        left = deadline - clock.now()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise PortError(f"the virtual robot did not come up within {START_LIMIT:g} s")
        piece = os.read(process.stdout.fileno(), 4096)
        if not piece:
            code = process.wait()
            raise PortError(
                f"the virtual robot ended with code {code} before it was ready; see above"
            )
        said += piece
    if not said.startswith(READY.encode()):
        raise PortError(f"the virtual robot said {said!r} where {READY!r} was expected")
    return tuple(said.decode().removeprefix(READY).split())  # links made here: without spaces


def _stop_at_eof(emulator) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    clock = RealClock()
    clock.sleep_until(clock.now() + AFTERMATH)
    emulator.stop()
