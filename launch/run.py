"""``retort run``: a bundle on a robot. Needs nothing that training needs but on a virtual robot."""

from __future__ import annotations

import argparse
import contextlib
import queue
import shlex
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..controller import (
    CommandError,
    Contract,
    FlightRecorder,
    Progress,
    RunOptions,
    RunResult,
    Schedule,
    constant,
    described,
    load_bundle,
    run,
)
from ..hardware import (
    Clock,
    Port,
    RealClock,
    RetortError,
    Robot,
    RobotFileError,
    SerialPort,
    load_robot,
    open_bus,
)
from ..hardware.parsing import parse
from ..hardware.virtual import LockstepClock, LockstepPort
from . import virtual
from .emulate import emulator_process
from .files import made_folder
from .ports import VIRTUAL, named_ports
from .run_config import CommandStep, RunConfig, command_step
from .virtual import VirtualWorld, require_mujoco

INTERRUPTED = 130


class RunError(RetortError):
    """The run was asked for in a way that cannot be."""


def add_parser(verbs) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser(
        "run",
        help="run a bundle on a robot, real or virtual",
        description="Run a bundle on a robot. Everything is checked before torque is switched on; "
        "Ctrl-C brings the robot to rest and switches torque off.",
    )
    parser.add_argument("bundle", type=Path, help="the folder `export` made, runs/NAME/student")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--port",
        help="a device path, a name by id, VID:PID:SERIAL or a pyserial URL (LINE=PORT,LINE=PORT "
        "for a robot with several lines), `robot.toml` for the ports named there, or `virtual` for "
        "an emulator of its own",
    )
    where.add_argument(
        "--lockstep", action="store_true", help="the virtual robot in-process, in virtual time"
    )
    parser.add_argument(
        "--robot",
        help="its name or folder (default: that of the recipe beside the bundle, or else the name "
        "the bundle has)",
    )
    parser.add_argument("--seconds", type=float, help="end after this time (default: at Ctrl-C)")
    parser.add_argument(
        "--command",
        action="append",
        type=command_step,
        default=[],
        metavar="T:V,V",
        help="from second T on, command these values, in the policy's own units; may be given "
        "several times (default: the first of run.command of the recipe beside the bundle; where "
        "there is none, and before the first T, 0 or the middle of a range that 0 is not in)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="keep the flight log here, in place of an earlier one (default: beside the bundle)",
    )
    virtual.add_options(parser)
    parser.set_defaults(act=main)


def main(options: argparse.Namespace) -> int:
    """Run and say how it ended; returns the exit code."""
    if options.lockstep and options.seconds is None:
        raise RunError("--lockstep has no end in virtual time; add --seconds")
    if options.faults and not options.lockstep and options.port != VIRTUAL:
        raise RunError(
            f"--faults is for virtual robots and {options.port} is a real port; take it away, or "
            "use --port virtual or --lockstep"
        )
    try:
        given = {} if options.seconds is None else {"seconds": options.seconds}
        port = VIRTUAL if options.port is None else options.port
        RunConfig(port=port, command=tuple(options.command), **given)
    except ValueError as error:
        raise RunError(str(error)) from error
    bundle = load_bundle(options.bundle)
    out = options.out or options.bundle.resolve().parent
    beside = _recipe_beside(options.bundle)
    name = options.robot or _recipe_robot(beside) or bundle.contract.robot
    try:
        robot = load_robot(name)
    except RobotFileError as error:
        if options.robot is not None:
            raise
        raise RunError(
            f"{error}; a bundle is without its robot's folder: copy that along, and add --robot "
            "FOLDER"
        ) from error
    commands = _commands(bundle.contract, options.command, _recipe_command(beside))
    kept = 600.0 if options.seconds is None else options.seconds + 30.0
    log = _EmulatorLog(out / "emulator.jsonl")
    with (
        made_folder(out),
        log,
        _reporting() as progress,
        _ports(options, name, robot, log) as (ports, clock),
    ):
        recorder = FlightRecorder(
            out / "flight", bundle.contract, robot, seconds=kept, begun=log.replace
        )
        bus = open_bus(robot, ports, clock, recorder.tap)
        run_options = RunOptions(
            seconds=options.seconds, realtime=not options.lockstep, progress=progress
        )
        if bundle.contract.command:
            first = described(bundle.contract, commands.command(0.0))
            print(f"command at first: {first}", flush=True)
        result = run(bundle, bus, run_options, commands, recorder)
    if not recorder.kept and result.outcome in ("error", "refused") and not _unconfirmed(result):
        raise RetortError(result.sentence)
    _say(result, out if recorder.kept else None)
    if result.outcome == "stopped" and options.seconds is not None:
        return INTERRUPTED
    return 0 if result.ok else 1


class _EmulatorLog:
    """The virtual robot's log, which takes the place of an older one together with the flight."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.partial = path.with_name(f"{path.name}.partial")

    def __enter__(self) -> None:
        self.partial.unlink(missing_ok=True)  # of a run that was killed before it began

    def __exit__(self, *_: object) -> None:
        self.partial.unlink(missing_ok=True)

    def replace(self) -> None:
        """Take that place; without a log, as on a real robot, an older one told of another run."""
        if self.partial.exists():
            self.partial.replace(self._path)
        else:
            self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def _ports(
    options: argparse.Namespace, name: str, robot: Robot, log: _EmulatorLog
) -> Iterator[tuple[dict[str, Port], Clock]]:
    """The robot's lines as asked for, and their time; what was started for them is ended after."""
    config = virtual.from_options(options)
    lines = [line.name for line in robot.line]
    ports: dict[str, Port] = {}
    with contextlib.ExitStack() as stack:
        if options.lockstep:
            require_mujoco("`--lockstep`")
            world = VirtualWorld(robot, config, log.partial)
            stack.callback(world.close)
            clock = LockstepClock(world.virtual)
            ports |= {line: LockstepPort(world.virtual, clock, line) for line in lines}
        else:
            if options.port == VIRTUAL:
                found = stack.enter_context(emulator_process(name, config, log.partial))
                urls = dict(zip(lines, found, strict=True))
            else:
                urls = named_ports(robot, options.port)
            clock = RealClock()
            for line in robot.line:
                port = SerialPort(urls[line.name], line.baud)
                stack.callback(port.close)
                ports[line.name] = port
        yield ports, clock


def _recipe_beside(bundle: Path) -> dict[str, Any]:
    """The recipe the bundle was made from, if that lies beside it; empty if it does not."""
    path = bundle.resolve().parent / "recipe.toml"
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}


def _recipe_robot(recipe: dict[str, Any]) -> str | None:
    robot = recipe.get("robot")
    return robot if isinstance(robot, str) else None


def _recipe_command(recipe: dict[str, Any]) -> tuple[float, ...] | None:
    """The first values that the recipe commands."""
    try:
        command = parse(RunConfig, recipe.get("run", {})).command
    except ValueError as error:
        raise RunError(f"the recipe beside the bundle: {error}") from error
    return command[0].values if command else None


def _commands(
    contract: Contract, asked: Sequence[CommandStep], default: tuple[float, ...] | None
) -> Schedule:
    if asked:
        return Schedule(contract, [(step.time, step.values) for step in asked])
    try:
        return constant(contract, default)
    except CommandError as error:
        raise RunError(f"the recipe beside the bundle: run.command: {error}") from error


@contextlib.contextmanager
def _reporting() -> Iterator[Callable[[Progress], None] | None]:
    """A callback that shows how the run stands without ever making the loop wait."""
    if not sys.stderr.isatty():
        yield None
        return
    waiting: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()

    def show() -> None:
        while (now := waiting.get()) is not None:
            line = (
                f"{now.state.name.lower():>8}  {now.time:6.1f} s  tilt {now.tilt:5.2f} rad  "
                f"lateness at most {now.lateness_max * 1e6:5.0f} µs  overruns {now.overruns}"
            )
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield waiting.put
    finally:
        waiting.put(None)
        thread.join(timeout=1.0)


def _unconfirmed(result: RunResult) -> list[str]:
    """Servos that have had torque and did not confirm that it is off."""
    if not result.energised:
        return []
    return [name for name, confirmed in result.torque_off.items() if not confirmed]


def _say(result: RunResult, out: Path | None) -> None:
    """How it ended, and what is kept in ``out``; None if nothing is."""
    late = result.lateness
    print(f"{result.outcome}: {result.sentence}" if result.sentence else result.outcome)
    if result.run_ticks:
        print(
            f"{result.run_seconds:.2f} s under the policy, {result.run_ticks} ticks; lateness "
            f"p50 {late.p50 * 1e6:.0f}, p99 {late.p99 * 1e6:.0f}, max {late.max * 1e6:.0f} µs; "
            f"overruns in all {result.ticks} ticks of the run: {result.overruns}"
        )
    asked = {name: counted for name, counted in result.counters.items() if counted.asked}
    for name, counted in asked.items():
        lost = counted.asked - counted.answered
        print(f"  {name}: {counted.asked} readings asked for, {lost} lost")
    for reason in result.realtime:
        print(f"not granted: {reason}")
    if silent := _unconfirmed(result):
        print(f"NOT CONFIRMED that torque is off: {', '.join(silent)}; switch the supply off")
    if out is not None:
        print(
            f"flight log: {out / 'flight'}; look at it with `retort report {shlex.quote(str(out))}`"
        )
