"""Profiles of faults for virtual robots, in Python and in TOML. A real port never sees this file.

A profile is a seed and a list of faults; each has a kind, mostly a device, and a time or a rate::

    seed = 3
    [[fault]]
    kind = "drop"          # of every device's answers one in a hundred never comes
    rate = 0.01
    [[fault]]
    kind = "silence"
    device = "left_wheel"  # a joint's name, or "imu"
    at = 2.0               # [s] of the virtual robot's own time, which begins with 0
    until = 2.5

The kinds are the classes below, in lower case with underscores; docs/faults.md has them all with
their keys. injection.py lets them act.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from ..checks import nearest
from ..errors import RetortError
from ..parsing import parse
from ..robot import Robot


class FaultError(RetortError):
    """A profile of faults cannot be read, or names what does not exist."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong from ``at`` on."""

    at: float = 0.0  # [s]

    def __post_init__(self) -> None:
        if not 0.0 <= self.at < math.inf:
            raise ValueError(f"at is {self.at}; it is a time from 0 on [s]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LastingFault(Fault):
    """It is over at ``until``."""

    until: float = math.inf  # [s]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.until > self.at:
            raise ValueError(f"until is {self.until}; it must be later than at, {self.at}")

    def during(self, time: float) -> bool:
        """Whether it is on at ``time`` [s]."""
        return self.at <= time < self.until


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerFault(LastingFault):
    """It befalls answers to what was asked between ``at`` and ``until``."""

    device: str = ""  # all of them, if none is named
    rate: float = 1.0  # probability per answer

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.rate <= 1.0:
            raise ValueError(f"rate is {self.rate}; it is a probability, 0 to 1")


class Drop(AnswerFault):
    """The answer is never sent; a device that waits for it is silent, too."""


class Corrupt(AnswerFault):
    """One burst of bits is damaged, no longer than the protocol's check notices for certain.

    At most 16 bits on a DYNAMIXEL line, a single bit on a Feetech line.
    """


class Truncate(AnswerFault):
    """The answer breaks off; a device that waits for it is silent."""


class Merge(AnswerFault):
    """The host's adapter keeps the answer and delivers it in one piece with the next.

    If none follows, 16 ms later, as an FTDI adapter's latency timer does.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delay(AnswerFault):
    """The answer comes late, old data and all; those behind it wait."""

    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.seconds < math.inf:
            raise ValueError(f"seconds is {self.seconds}; it must be positive and finite")


class Duplicate(AnswerFault):
    """The answer is sent twice."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Garbage(AnswerFault):
    """Up to ``size`` random bytes stand before the answer; never within a frame."""

    size: int = 16  # [bytes]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.size <= 1000:
            raise ValueError(f"size is {self.size}; it is 1 to 1000 bytes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silence(LastingFault):
    """The device neither hears nor answers."""

    device: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class BrownOut(LastingFault):
    """The device has too little voltage to run; when it comes back it boots, with its RAM lost."""

    device: str = ""  # all of them, if none is named


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overload(Fault):
    """The servo reports overload and lets go, as after too much load for too long."""

    device: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overheat(Fault):
    """The servo's temperature is beyond its limit; from there it cools as physics has it."""

    device: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unplug(LastingFault):
    """The host's adapter is unplugged; its port is gone until a new one comes at ``until``."""

    line: str = ""  # all of them, if none is named


@dataclasses.dataclass(frozen=True, kw_only=True)
class StuckEncoder(LastingFault):
    """The encoder says where it was at ``at``, whatever the shaft does."""

    device: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class JumpingEncoder(LastingFault):
    """The encoder is off by ``angle``."""

    device: str
    angle: float  # [rad]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.angle):
            raise ValueError(f"angle is {self.angle}; it must be a finite number [rad]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StaleImu(LastingFault):
    """The inertial sensor answers, with the same sample again and again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdClash(LastingFault):
    """``device`` has the id of ``other`` besides it on its line: both speak at once."""

    device: str
    other: str


KINDS: dict[str, type[Fault]] = {
    re.sub(r"(?<=.)([A-Z])", r"_\1", kind.__name__).lower(): kind
    for kind in (
        *(Drop, Corrupt, Truncate, Merge, Delay, Duplicate, Garbage, Silence),
        *(BrownOut, Overload, Overheat, Unplug, StuckEncoder, JumpingEncoder, StaleImu, IdClash),
    )
}


class Faults(tuple[Fault, ...]):
    """A profile: faults and the seed of their chances.

    Attributes:
        seed: mixed with the virtual robot's own.
    """

    seed: int

    def __new__(cls, *faults: Fault, seed: int = 0) -> Faults:
        made = super().__new__(cls, faults)
        made.seed = seed
        return made


@dataclasses.dataclass(frozen=True, kw_only=True)
class _File:
    seed: int = 0
    fault: tuple[dict[str, Any], ...] = ()


def parse_fault(table: dict[str, Any], where: str = "") -> Fault:
    """A fault from a table with its ``kind`` and what belongs to that.

    Raises:
        FaultError: a kind, key or value that is not allowed; the message lists those that are.
    """
    values = dict(table)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        near = nearest(str(kind), KINDS)
        raise FaultError(
            f"{where or 'a fault'} has the kind {kind!r}{near}; the kinds are {', '.join(KINDS)}"
        )
    try:
        return parse(KINDS[kind], values, kind)
    except ValueError as error:
        raise FaultError(f"{where}: {error}" if where else str(error)) from error


def load_faults(path: str | Path) -> Faults:
    """Read a profile, strictly.

    Raises:
        FaultError: no such file, or one that is not a profile.
    """
    try:
        data = tomllib.loads(Path(path).read_text())
        file = parse(_File, data)
        if file.seed < 0:
            raise ValueError(f"seed is {file.seed}; it must not be negative")
        faults = [parse_fault(table, f"fault[{i}]") for i, table in enumerate(file.fault)]
        return Faults(*faults, seed=file.seed)
    except OSError as error:
        raise FaultError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FaultError(f"{path} is not valid TOML: {error}") from error
    except (FaultError, ValueError) as error:
        raise FaultError(f"{path}: {error}") from error


def check_names(fault: Fault, robot: Robot) -> None:
    """Whether ``fault`` names what ``robot`` has.

    Raises:
        FaultError: it does not; the message lists what there is.
    """
    devices = [*robot.joints, *(["imu"] if robot.imu else [])]
    lines = [line.name for line in robot.line]
    kind = next(name for name, made in KINDS.items() if type(fault) is made)
    everyone = {field.name for field in dataclasses.fields(fault) if field.default == ""}
    for key, known in (("device", devices), ("other", devices), ("line", lines)):
        name = getattr(fault, key, None)
        if name is not None and name not in known and not (name == "" and key in everyone):
            near = nearest(name, known)
            raise FaultError(
                f"{kind} has {key} {name!r}{near}; {robot.name} has {', '.join(known)}"
            )
    servo = isinstance(fault, Overload | Overheat | StuckEncoder | JumpingEncoder)
    if servo and getattr(fault, "device", "") not in robot.joints:
        raise FaultError(f"{kind} is for a servo; {robot.name} has {', '.join(robot.joints)}")
    if isinstance(fault, StaleImu) and robot.imu is None:
        raise FaultError(f"{kind}: {robot.name} has no inertial sensor")
    if isinstance(fault, IdClash):
        where = {joint.name: joint.line for joint in robot.joint}
        if robot.imu:
            where["imu"] = robot.imu.line
        if fault.device == fault.other or where[fault.device] != where[fault.other]:
            raise FaultError(
                f"{kind} needs two devices of one line, got {fault.device!r} and {fault.other!r}"
            )
