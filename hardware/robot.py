"""robot.toml: what a robot is made of. Parsed strictly; a mistake names what is allowed."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
import typing
from pathlib import Path
from typing import Literal

import numpy as np

from .checks import (
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    Range,
    RangeError,
    at_least,
    check,
    check_fields,
    check_rising,
    nearest,
)
from .errors import RobotFileError
from .parsing import parse

ROBOTS = Path(__file__).parent / "robots"

_LINE_NAME = re.compile(r"[\w-]+")

Mode = Literal["position", "velocity", "effort"]

# Every rate a device can be set to [bit/s], by protocol, the usual ones first.
BAUDS: dict[str, tuple[int, ...]] = {
    "dynamixel2": (
        *(1_000_000, 57_600, 115_200, 2_000_000, 3_000_000, 4_000_000, 4_500_000, 9_600),
    ),
    # Sources disagree on codes 5 to 7: both readings stand here.
    "feetech": (
        *(1_000_000, 500_000, 250_000, 128_000, 115_200),
        *(76_800, 57_600, 38_400, 19_200),
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What a joint may be asked, in SI units; ``inf`` where there is no limit."""

    position_min: float = -np.inf  # [rad]
    position_max: float = np.inf  # [rad]
    velocity: float = np.inf  # [rad/s]
    effort: float = np.inf  # [N·m]

    def __post_init__(self) -> None:
        anything = Range()
        check_fields(self, position_min=anything, position_max=anything)
        check_fields(self, velocity=Range(0.0), effort=Range(0.0))
        check_rising("position_min, position_max", (self.position_min, self.position_max))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One serial line.

    ``port`` is where it is plugged in: a device path, a name in /dev/serial/by-id, or an adapter's
    VID:PID or VID:PID:SERIAL. Left out, it is given when the robot is opened.
    """

    name: str
    protocol: Literal["dynamixel2", "feetech"]
    baud: int  # [bit/s]
    port: str = ""
    echo: bool = False  # the adapter gives back every byte the host sends

    def __post_init__(self) -> None:
        if not _LINE_NAME.fullmatch(self.name):
            raise ValueError(
                f"a line is named {self.name!r}; the name stands in --port LINE=PATH and in the "
                "names of links, use letters, digits, - and _"
            )
        rates = BAUDS[self.protocol]
        if self.baud not in rates:
            allowed = ", ".join(map(str, sorted(rates)))
            raise RangeError(f"baud is {self.baud}; a {self.protocol} line can have {allowed}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joint:
    """One servo and the joint it moves: ``joint angle = sign * (servo angle - zero)``."""

    name: str
    line: str
    id: int
    servo: str  # a table in hardware/models
    mode: Mode
    sign: Literal[-1, 1] = 1
    zero: float = 0.0  # [rad]
    default: float = 0.0  # [rad]
    limits: Limits = Limits()
    gains: dict[str, int] = dataclasses.field(default_factory=dict)  # register values

    def __post_init__(self) -> None:
        check_fields(self, zero=FINITE, default=FINITE)
        for name, value in self.gains.items():
            check(f"gains.{name}", value, NOT_NEGATIVE)
        low, high = self.limits.position_min, self.limits.position_max
        if not low <= self.default <= high:
            raise RangeError(
                f"default is {self.default:g}, and the position limits of {self.name} are {low:g} "
                f"to {high:g} rad; the default pose must lie between them"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImuDevice:
    """The inertial sensor board."""

    line: str
    id: int
    model: str


Value = Literal["tick", "effort", "velocity", "position", "voltage", "temperature"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Read:
    """What a tick reads.

    ``order`` is the order devices are asked in; a silent one may lose those behind it. One that
    stays silent is taken out of it (see ``RollCall``).

    ``values`` trades wire time for safety on DYNAMIXEL lines; it must hold the position. Without
    the tick, a servo that has rebooted is not noticed by its clock, and an answer that is late by
    several ticks may pass. Without voltage and temperature the gate cannot watch them.

    ``layout`` says how those values are fetched. ``direct`` reads the span of registers that holds
    them all, 27 bytes for all six, and needs nothing written. ``indirect`` gathers them in the
    servo's indirect data first, 15 bytes for all six, so that twelve servos fit 3 ms at 1 Mbit/s;
    what it writes is lost at a reboot and written anew by every ``prepare``.
    """

    order: tuple[str, ...]
    values: tuple[Value, ...] = typing.get_args(Value)
    layout: Literal["direct", "indirect"] = "direct"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ramp:
    """What must happen between the checks and the policy's authority.

    ``upright_still``: torque stays off until the body is within ``tilt`` and ``rate`` for
    ``seconds``. ``pose``: torque on, a bounded move to the default pose within ``seconds``.
    """

    kind: Literal["upright_still", "pose"]
    tilt: float = 0.15  # [rad]
    rate: float = 0.3  # [rad/s]
    seconds: float = 0.5
    timeout: float = 10.0  # [s]

    def __post_init__(self) -> None:
        check_fields(self, rate=POSITIVE, seconds=NOT_NEGATIVE, timeout=POSITIVE)
        _check_tilt(self.tilt)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damp:
    """What a stop means. ``brake``: effort against joint velocity, at most the effort limit.

    ``hold``: the last measured pose is held. Both for ``seconds``, then torque off.
    """

    kind: Literal["brake", "hold"]
    gain: float = 0.01  # [N·m per rad/s]
    seconds: float = 0.25

    def __post_init__(self) -> None:
        check_fields(self, gain=NOT_NEGATIVE, seconds=NOT_NEGATIVE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Safety:
    """Limits of the safety gate; crossing one is a latched fault."""

    tilt: float  # [rad]
    stale_ticks: int
    slew: float  # [unit of the target per second]
    temperature: float = 70.0  # [°C]
    voltage_min: float = 0.0  # [V]

    def __post_init__(self) -> None:
        check_fields(self, stale_ticks=at_least(1), slew=POSITIVE)
        _check_tilt(self.tilt)
        check_fields(self, temperature=POSITIVE, voltage_min=NOT_NEGATIVE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Robot:
    """A robot made of serial servos."""

    name: str
    folder: Path
    model: str  # MJCF file in the folder
    control_rate: float  # [Hz]
    read_fraction: float = 0.3  # of the period, for one read
    watchdog: float  # [s]; with dynamixel2 lines at least two ticks
    line: tuple[Line, ...]
    joint: tuple[Joint, ...]
    read: Read
    ramp: Ramp
    damp: Damp
    safety: Safety
    imu: ImuDevice | None = None

    def __post_init__(self) -> None:
        # The servos' own watchdog counts up to 127 times 20 ms; 0 where they have none.
        check_fields(self, control_rate=Range(1.0, 2_000.0), watchdog=Range(0.0, 2.54))
        _require(0 < self.read_fraction < 1, f"read_fraction is {self.read_fraction}; use 0 to 1")
        names = [joint.name for joint in self.joint]
        _require(len(names) > 0, "there is no [[joint]]")
        _require(all(names), "a [[joint]] has an empty name")
        _require(len(set(names)) == len(names), f"joint names repeat: {names}")
        _require("imu" not in names, "a joint is named 'imu', as the sensor is; rename it")
        devices = names + (["imu"] if self.imu else [])
        _require(
            sorted(self.read.order) == sorted(devices),
            f"[read] order is {list(self.read.order)}; it must hold each of {devices} once",
        )
        _require("position" in self.read.values, "[read] values must hold 'position'")
        _require(
            self.imu is not None or self.ramp.kind != "upright_still",
            "[ramp] kind is 'upright_still' and there is no [imu] to see that by; use 'pose', or "
            "name the sensor",
        )
        lines = [line.name for line in self.line]
        _require(len(lines) > 0, "there is no [[line]]")
        _require(len(set(lines)) == len(lines), f"line names repeat: {lines}")
        used = [(joint.line, joint.id, joint.name) for joint in self.joint]
        if self.imu:
            used.append((self.imu.line, self.imu.id, "imu"))
        for line, id, name in used:
            _require(line in lines, f"{name} is on line {line!r}; the lines are {lines}")
            _require(0 <= id <= 252, f"{name} has id {id}; ids are 0 to 252")
        for name in lines:
            _require(any(line == name for line, _, _ in used), f"nothing is on line {name!r}")
        addresses = [(line, id) for line, id, _ in used]
        _require(len(set(addresses)) == len(addresses), "two devices share one id on one line")

    @property
    def joints(self) -> tuple[str, ...]:
        """Joint names in the order every array of joints has."""
        return tuple(joint.name for joint in self.joint)

    @property
    def period(self) -> float:
        """One control tick [s]."""
        return 1.0 / self.control_rate

    @property
    def model_path(self) -> Path:
        """The MJCF file."""
        return self.folder / self.model


def load_robot(name: str | Path) -> Robot:
    """Read a robot: a name in ``hardware/robots``, a folder, or a robot.toml.

    Raises:
        RobotFileError: no such robot, or a key or value that is not allowed.
    """
    path = Path(name)
    if path.is_dir():
        path = path / "robot.toml"
    if not path.is_file():  # whatever else has that name here
        path = ROBOTS / str(name) / "robot.toml"
    if not path.is_file():
        known = sorted(folder.name for folder in ROBOTS.iterdir() if folder.is_dir())
        raise RobotFileError(
            f"there is no robot {str(name)!r}{nearest(str(name), known)}, neither as a folder with "
            f"a robot.toml at {Path(name).absolute()} nor in retort, which has {', '.join(known)}; "
            "name one of these or such a folder"
        )
    try:
        data = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RobotFileError(f"{path} is not valid TOML: {error}") from error
    try:
        _require("folder" not in data, "unknown key 'folder' in the top level; leave it out")
        robot = parse(Robot, {**data, "folder": path.parent})
        _check_watchdog(robot)
        return robot
    except (TypeError, ValueError) as error:
        raise RobotFileError(f"{path}: {error}") from error


def _check_watchdog(robot: Robot) -> None:
    """Servos with a bus watchdog must stop soon after the host has, and never between two ticks."""
    watched = any(line.protocol == "dynamixel2" for line in robot.line)
    _require(
        not watched or robot.watchdog >= max(0.02, 2.0 * robot.period),
        f"watchdog is {robot.watchdog}; on a dynamixel2 line it is at least 0.02 s, the "
        f"servos' unit, and at least two control periods, here {2.0 * robot.period:.3g} s",
    )


def _check_tilt(tilt: float) -> None:
    """No body leans further than upside down: more is degrees, and would protect from nothing."""
    check("tilt", tilt, POSITIVE)
    if tilt > math.pi:
        raise RangeError(f"tilt is {tilt:g}; it is in rad, use at most {math.pi:.15g}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
