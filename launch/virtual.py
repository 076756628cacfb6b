"""The virtual robot's world: MuJoCo behind virtual servos, what happens to it, and a log of that.

The same world is served on a pseudo-terminal in real time and stepped in-process in virtual time.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..hardware.checks import NOT_NEGATIVE, SEED, SHARE, check_fields
from ..hardware.clock import RealClock
from ..hardware.errors import RetortError
from ..hardware.robot import Robot
from ..hardware.virtual import FaultError, Faults, VirtualRobot, check_names, load_faults
from ..hardware.virtual.faults import KINDS, Corrupt, Drop
from .files import unwritable

LOOK = 0.01  # [s] between two looks at the hand and the fall
POSES = 3  # looks between two logged poses


class OptionError(RetortError):
    """An option of the virtual robot has a value that cannot be."""


class MissingExtraError(RetortError):
    """A part of retort was asked for that was not installed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VirtualConfig:
    """What the virtual robot has to endure; it plays no part on a real port."""

    push_times: tuple[float, ...] = ()  # [s] since the virtual hand let go, or it has torque
    push_impulse: float = 0.15  # [N·s], horizontal, in a direction drawn from the seed
    drop: float = 0.0  # share of replies that never come
    corrupt: float = 0.0  # share of replies with damaged bytes
    faults: str = ""  # file with a profile of more faults
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(
            self,
            push_times=NOT_NEGATIVE,
            push_impulse=NOT_NEGATIVE,
            drop=SHARE,
            corrupt=SHARE,
            seed=SEED,
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command-line form of ``VirtualConfig``."""
    group = parser.add_argument_group("virtual robot", "no effect on a real port")
    default = VirtualConfig()
    group.add_argument(
        "--push-times",
        type=_times,
        default=(),
        metavar="S,S,...",
        help="pushes, seconds since the virtual hand let go or, of a fixed base, torque is on",
    )
    group.add_argument(
        "--push-impulse",
        type=float,
        default=default.push_impulse,
        metavar="NS",
        help="strength of a push [N·s] (default %(default)s)",
    )
    group.add_argument("--drop", type=float, default=0.0, help="share of replies that never come")
    group.add_argument("--corrupt", type=float, default=0.0, help="share of replies damaged")
    group.add_argument(
        "--faults",
        default="",
        metavar="FILE",
        help="a TOML profile of faults: `seed`, and [[fault]] tables with `kind`, mostly `device`, "
        "and `at` and `until` [s] or `rate`, as docs/faults.md has them; refused on a real port. "
        "The kinds are " + ", ".join(KINDS),
    )
    group.add_argument("--seed", type=int, default=0, help="of pushes, faults and noise")


def from_options(options: argparse.Namespace) -> VirtualConfig:
    """The config given on the command line.

    Raises:
        OptionError: a value is not allowed.
    """
    names = [field.name for field in dataclasses.fields(VirtualConfig)]
    try:
        config = VirtualConfig(**{name: getattr(options, name) for name in names})
        if config.faults:
            load_faults(config.faults)  # a mistake in it is said before anything is started
    except (FaultError, ValueError) as error:
        raise OptionError(str(error)) from error
    return config


def check_faults(config: VirtualConfig, robot: Robot) -> None:
    """That the profile of faults, if there is one, can be read and fits the robot.

    Raises:
        FaultError: it cannot, or does not.
    """
    for fault in load_faults(config.faults) if config.faults else ():
        check_names(fault, robot)


def as_options(config: VirtualConfig) -> list[str]:
    """Command-line arguments that give ``config`` again."""
    times = ",".join(f"{time:g}" for time in config.push_times)
    arguments = [f"--push-times={times}"] if times else []
    for name in ("push_impulse", "drop", "corrupt", "seed"):
        arguments.append(f"--{name.replace('_', '-')}={getattr(config, name)}")
    if config.faults:
        arguments.append(f"--faults={config.faults}")
    return arguments


def require_mujoco(what: str) -> None:
    """Say what to install if there is no MuJoCo.

    Raises:
        MissingExtraError: there is none.
    """
    if importlib.util.find_spec("mujoco") is None:
        raise MissingExtraError(
            f"{what} needs retort[train]: pip install '.[train]' in a clone of retort"
        )


class VirtualWorld:
    """A virtual robot standing in MuJoCo, held by a hand while a servo has no torque.

    Args:
        robot: what to build.
        config: pushes and faults.
        log: JSON lines of what happens are written here; nothing if None.

    Raises:
        FaultError: the profile of faults cannot be read or does not fit the robot.
        FileError: the log cannot be written.

    Attributes:
        virtual: the devices, to be served or stepped.
        epoch: [s] added to the robot's time in the log, so that it fits the client's clock.
    """

    def __init__(self, robot: Robot, config: VirtualConfig, log: Path | None = None) -> None:
        from ..sim.twin import Twin  # here, so that a real port needs no MuJoCo

        self.twin = Twin(robot, seed=config.seed)
        rates = [(Drop, config.drop), (Corrupt, config.corrupt)]
        profile = load_faults(config.faults) if config.faults else Faults()
        chances = (kind(rate=rate) for kind, rate in rates if rate)
        faults = Faults(*chances, *profile, seed=profile.seed)
        self.virtual = VirtualRobot(robot, self.twin, seed=config.seed, faults=faults)
        self.epoch = 0.0
        self._config = config
        self._rng = np.random.default_rng(config.seed)
        self._held, self._fallen, self._looks = True, False, 0
        self._tripped: set[str] = set()
        self._pushes_due: list[float] = []
        self._file = None
        self._log = log
        if log is not None:
            try:
                log.parent.mkdir(parents=True, exist_ok=True)
                self._file = log.open("w", buffering=1)  # by line: nothing is lost when killed
            except OSError as error:
                raise unwritable(log, error) from error
        self.virtual.schedule(0.0, self._look)

    def follow_real_time(self) -> None:
        """Log in the machine's monotonic time from now on."""
        self.epoch = RealClock().now() - self.virtual.time

    def close(self) -> None:
        """Log what was injected and end the log."""
        self._write("end", **dataclasses.asdict(self.virtual.fault_counts))
        if self._file is not None:
            self._file.close()
            self._file = None

    def _look(self) -> None:
        now = self.virtual.time
        self.virtual.schedule(now + LOOK, self._look)
        held = self.twin.held or not all(servo.torque for servo in self.virtual.servos)
        if held != self._held:
            self._held = held
            names = ("hand takes", "hand lets go") if self.twin.free else ("limp", "has torque")
            self._write(names[not held])
            self._pushes_due = [] if held else [now + t for t in self._config.push_times]
        while self._pushes_due and self._pushes_due[0] <= now:
            self._pushes_due.pop(0)
            self._push()
        tripped = {servo.name for servo in self.virtual.servos if servo.tripped}
        for name in sorted(tripped - self._tripped):
            self._write("watchdog trips", servo=name)
        self._tripped = tripped
        if self.twin.fallen and not self._fallen:
            self._write("fall", tilt=round(self.twin.tilt, 4))
        self._fallen = self.twin.fallen
        if self.twin.free and self._looks % POSES == 0:
            pose = [round(float(value), 5) for value in self.twin.pose()[:7]]
            self._write("pose", position=pose[:3], orientation=pose[3:])
        self._looks += 1

    def _push(self) -> None:
        angle = self._rng.uniform(-np.pi, np.pi)
        impulse = self._config.push_impulse * np.array([np.cos(angle), np.sin(angle), 0.0])
        self.twin.push(impulse)
        self._write("push", impulse=[round(float(value), 5) for value in impulse[:2]])

    def _write(self, event: str, **facts: Any) -> None:
        if self._file is None or self._log is None:
            return
        row = {"time": round(self.epoch + self.virtual.time, 6), "event": event, **facts}
        try:
            self._file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise unwritable(self._log, error) from error


def _times(text: str) -> tuple[float, ...]:
    try:
        return tuple(sorted(float(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of seconds, such as 1,2.5"
        ) from None
