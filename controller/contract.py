"""The contract: what the policy sees and what its output means. Data only; the maths is program.py.

One object, made once from a robot and a recipe, carried through training into the bundle, and
compared with the robot before torque. Its hash covers all of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Literal

from ..hardware.checks import (
    FINITE,
    POSITIVE,
    Range,
    RangeError,
    between,
    check,
    check_fields,
    check_rising,
)
from ..hardware.errors import RetortError
from ..hardware.parsing import parse
from ..hardware.robot import Robot

FORMAT = 1


class ContractError(RetortError):
    """A contract is not as it must be, or does not fit the robot."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TermSpec:
    """One observation term: a name in ``program.TERMS``, its size and the factor applied."""

    name: str
    size: int
    scale: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """One component of the command and the range seen in training.

    The policy follows a smoothed command: it moves towards the one given by at most ``slew`` per
    second, because a robot that leans to accelerate cannot follow a jump.
    """

    name: str
    unit: str
    low: float
    high: float
    slew: float | None = None  # [unit/s]; None: no limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActionMap:
    """From the policy's output to joint targets.

    ``a = clip(output, -1, 1)``; ``raw = offset + scale * a``;
    ``filtered = last + smoothing * (raw - last)``; the change per tick is clipped to ``slew``.
    """

    offset: tuple[float, ...]  # per joint, [unit of its mode]
    scale: tuple[float, ...]  # per joint, [unit of its mode]
    smoothing: float = 1.0  # 1: no low-pass
    slew: float = float("inf")  # [unit of the target per tick]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coasting:
    """What stands in for a reading that was missed. ``hold``: the last one that came."""

    rule: Literal["hold"] = "hold"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contract:
    """What the policy sees and what its output means."""

    format: int = FORMAT
    robot: str
    joints: tuple[str, ...]
    servos: tuple[str, ...]  # model names, per joint
    modes: tuple[str, ...]  # operating modes, per joint
    control_rate: float  # [Hz]
    default_pose: tuple[float, ...]  # [rad]
    gains: tuple[dict[str, int], ...]  # register values, per joint
    read_order: tuple[str, ...]  # a lost device loses those behind it
    terms: tuple[TermSpec, ...]
    history: int = 1  # frames in one observation, oldest first
    layout: Literal["frame-major", "term-major"] = "frame-major"
    command: tuple[CommandSpec, ...] = ()
    action: ActionMap
    coasting: Coasting = Coasting()
    normaliser_clip: float = 10.0  # normalised observations are clipped to +- this
    trained: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self._check()
        except RangeError as error:
            raise ContractError(f"contract: {error}") from error

    def _check(self) -> None:
        if self.format != FORMAT:
            raise ContractError(
                f"contract: format {self.format}, this retort reads format {FORMAT}; export again"
            )
        n = len(self.joints)
        if n == 0 or len(set(self.joints)) != n:
            raise ContractError(
                f"contract: joints are {list(self.joints)}; there must be some, no two of one name"
            )
        for name in ("servos", "modes", "default_pose", "gains"):
            if len(getattr(self, name)) != n:
                raise ContractError(f"contract: {name} must hold {n} values, one per joint")
        if len(self.action.offset) != n or len(self.action.scale) != n:
            raise ContractError(f"contract: action offset and scale must hold {n} values")
        check_fields(
            self,
            control_rate=Range(0.0, 1e5, open_low=True),
            default_pose=FINITE,
            history=between(1, 10_000),
            normaliser_clip=POSITIVE,
        )
        check("action.offset", self.action.offset, FINITE)
        check("action.scale", self.action.scale, FINITE)
        check("action.smoothing", self.action.smoothing, Range(0.0, 1.0, open_low=True))
        check("action.slew", self.action.slew, Range(0.0, open_low=True))
        names = [term.name for term in self.terms]
        if not names or len(set(names)) != len(names):
            raise ContractError(
                f"contract: terms are {names}; there must be some, no two of one name"
            )
        for term in self.terms:
            check(f"terms.{term.name}.size", term.size, between(0, 10_000))
            check(f"terms.{term.name}.scale", term.scale, FINITE)
        for spec in self.command:
            check(f"command.{spec.name}", [spec.low, spec.high], FINITE)
            check_rising(f"command.{spec.name}", (spec.low, spec.high))
            if spec.slew is not None:
                check(f"command.{spec.name}.slew", spec.slew, POSITIVE)
        for name, pair in self.trained.items():
            check(f"trained.{name}", pair, FINITE)
            check_rising(f"trained.{name}", pair)

    @property
    def period(self) -> float:
        """One control tick [s]."""
        return 1.0 / self.control_rate

    @property
    def frame_size(self) -> int:
        """Numbers in one frame."""
        return sum(term.size for term in self.terms)

    @property
    def observation_size(self) -> int:
        """Numbers in one observation."""
        return self.history * self.frame_size

    @property
    def action_size(self) -> int:
        """Numbers in one action: one per joint."""
        return len(self.joints)

    def slices(self) -> dict[str, slice]:
        """Where each term stands in one frame."""
        result, start = {}, 0
        for term in self.terms:
            result[term.name] = slice(start, start + term.size)
            start += term.size
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        data = dataclasses.asdict(self)
        if self.action.slew == float("inf"):
            data["action"]["slew"] = None
        return data

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Contract:
        """The inverse of ``to_dict``.

        Raises:
            ContractError: unknown or missing key, or a value of another type.
        """
        if not isinstance(data, dict):
            raise ContractError(f"contract: it must be a table, got {data!r}")
        data = json.loads(json.dumps(data))
        if isinstance(data.get("action"), dict) and data["action"].get("slew", 0) is None:
            data["action"]["slew"] = float("inf")
        try:
            return parse(Contract, data)
        except ValueError as error:
            raise ContractError(f"contract: {error}") from error

    def hash(self) -> str:
        """SHA-256 over every field, hexadecimal."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Mismatch:
    """One way in which a contract does not fit a robot."""

    what: str
    got: object
    expected: object
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.what}: robot has {self.got}, policy was trained for {self.expected}; "
            f"{self.remedy}"
        )


def compare(contract: Contract, robot: Robot) -> tuple[Mismatch, ...]:
    """Every way in which ``contract`` does not fit ``robot``'s file; empty if it fits."""
    checks = [
        ("robot", robot.name, contract.robot, "run a bundle made for this robot"),
        _joints(contract, robot),
        (
            "control rate [Hz]",
            robot.control_rate,
            contract.control_rate,
            "set control_rate in robot.toml or train again at this rate",
        ),
        (
            "default pose [rad]",
            [joint.default for joint in robot.joint],
            list(contract.default_pose),
            "restore `default` in robot.toml or train again",
        ),
        (
            "servo model",
            [joint.servo for joint in robot.joint],
            list(contract.servos),
            "fit the servos the policy was trained for or train again",
        ),
        (
            "operating mode",
            [joint.mode for joint in robot.joint],
            list(contract.modes),
            "restore `mode` in robot.toml or train again",
        ),
        (
            "gains",
            [dict(joint.gains) for joint in robot.joint],
            [dict(gains) for gains in contract.gains],
            "restore `gains` in robot.toml or train again with these",
        ),
        (
            "read order",
            list(robot.read.order),
            list(contract.read_order),
            "restore [read] order in robot.toml or train again",
        ),
    ]
    return tuple(Mismatch(*check) for check in checks if check[1] != check[2])


def _joints(contract: Contract, robot: Robot) -> tuple[str, list[str], list[str], str]:
    ours, theirs = list(robot.joints), list(contract.joints)
    if set(ours) == set(theirs):
        remedy = "restore the order of [[joint]] in robot.toml or train again"
        return "joint order", ours, theirs, remedy
    return (
        "joint names",
        [name for name in ours if name not in theirs],
        [name for name in theirs if name not in ours],
        "call them in robot.toml as the policy does or train again",
    )
