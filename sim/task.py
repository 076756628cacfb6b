"""What a task is: one file that defines reset, reward, termination and privileged observation."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..controller.contract import ActionMap, CommandSpec, Contract, TermSpec
from ..controller.program import INERTIAL, term_size
from ..hardware.checks import (
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    Range,
    RangeError,
    between,
    check,
    check_fields,
    check_rising,
)
from ..hardware.errors import RetortError
from ..hardware.robot import Robot
from .definition import DefinitionError, defined_in
from .physics import Physics
from .randomisation import Randomisation

TASKS = Path(__file__).parent / "tasks"


# Difficulty axes every robot task has; a task may name more of its own, and a simulation gives any
# randomised quantity an axis of its own (``difficulty_axes``).
AXES = ("randomisation", "sensing", "packet_loss", "pushes", "commands")


Rows = slice | np.ndarray  # which environments


class TaskError(RetortError):
    """There is no such task, or its file does not define one that can be used."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pushes:
    """Horizontal impulses at a site at random times, in random directions."""

    site: str
    impulse: float  # [N·s] at full width
    interval: tuple[float, float] = (2.0, 5.0)  # [s] between two

    def __post_init__(self) -> None:
        check_fields(self, impulse=NOT_NEGATIVE, interval=POSITIVE)
        check_rising("interval", self.interval)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContractConfig:
    """The part of the contract that is a choice; the rest is the robot's."""

    terms: tuple[str, ...]
    scales: dict[str, float] = dataclasses.field(default_factory=dict)
    history: int = 1
    action_scale: float  # [unit of the joints' mode]
    smoothing: float = 1.0
    slew: float = float("inf")  # [unit of the target per tick]

    def __post_init__(self) -> None:
        check_fields(
            self,
            history=between(1, 10_000),
            action_scale=POSITIVE,
            smoothing=Range(0.0, 1.0, open_low=True),
            slew=Range(0.0, open_low=True),
        )
        for name, scale in self.scales.items():
            check(f"scales.{name}", scale, FINITE)


class Task(Protocol):
    """What is asked of a robot. Arrays are (n, ...), rows are environments."""

    name: str
    robot: str  # whom it is for, as robot.toml calls it
    command: tuple[CommandSpec, ...]
    command_interval: tuple[float, float]  # [s] between two draws
    contract: ContractConfig  # defaults; a recipe may change them
    axes: tuple[str, ...]
    randomisations: dict[str, tuple[Randomisation, ...]]  # by axis
    pushes: Pushes | None

    def initial_state(self, physics: Physics, ids: np.ndarray, rng: np.random.Generator) -> None:
        """Write ``qpos`` and ``qvel`` of ``ids``, which hold the model's defaults."""
        ...

    def measure(self, physics: Physics, rows: Rows) -> Any:
        """Quantities that reward, termination and observation share, of some environments."""
        ...

    def reward(self, measured: Any, command: np.ndarray) -> np.ndarray:
        """In [0, 1] per tick, (n,) float32."""
        ...

    def terminated(self, measured: Any) -> np.ndarray:
        """Who has failed, (n,) bool."""
        ...

    def privileged(
        self, physics: Physics, rows: Rows, measured: Any, command: np.ndarray
    ) -> np.ndarray:
        """True state of ``rows``, (n, k) float32, given what was measured of them.

        What was randomised is appended by the environment.
        """
        ...

    def tracking(self, measured: Any) -> np.ndarray:
        """The achieved value of each command component, (n, commands)."""
        ...


def tolerance(error: np.ndarray, margin: float) -> np.ndarray:
    """1 at zero error, 0.1 at ``margin``, Gaussian between and beyond (dm_control's tolerance)."""
    return np.exp((error * error) * (np.log(0.1) / margin**2))


def difficulty_axes(task: Task, own_axes: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the difficulty axes: the task's, and behind them ``own_axes``.

    Args:
        task: a task.
        own_axes: quantities it randomises that get an axis each, called as they are.

    Raises:
        TaskError: it randomises no such quantity, or there is an axis of that name already.
    """
    names = [term.name for terms in task.randomisations.values() for term in terms]
    for number, name in enumerate(own_axes):
        if name not in names:
            raise TaskError(
                f"simulation.own_axes has {name!r}, which {task.name} does not randomise; it "
                f"randomises {', '.join(names) or 'nothing'}"
            )
        if name in task.axes or name in own_axes[:number]:
            raise TaskError(
                f"simulation.own_axes has {name!r}, which is an axis already; leave it out"
            )
    return (*task.axes, *own_axes)


def randomised_on(
    task: Task, own_axes: Sequence[str] = ()
) -> tuple[tuple[str, Randomisation], ...]:
    """Every term of the task's randomisation, with the difficulty axis that sets its width."""
    return tuple(
        (term.name if term.name in own_axes else axis, term)
        for axis, terms in task.randomisations.items()
        for term in terms
    )


def make_contract(
    robot: Robot,
    task: Task,
    config: ContractConfig | None = None,
    trained: dict[str, tuple[float, float]] | None = None,
) -> Contract:
    """The contract of ``robot`` doing ``task``.

    Raises:
        TaskError: the task is for another robot, there is no such term, or nothing that measures
            it.
    """
    if robot.name != task.robot:
        raise TaskError(
            f"task {task.name} is for the robot {task.robot!r}, and this one is {robot.name!r}; "
            "name that robot, or give the class of the task and robot.toml the same name"
        )
    config = config or task.contract
    n = len(robot.joints)
    pose = tuple(joint.default for joint in robot.joint)
    offset = tuple(joint.default if joint.mode == "position" else 0.0 for joint in robot.joint)
    try:
        sizes = [term_size(name, n, len(task.command)) for name in config.terms]
    except KeyError as error:
        raise TaskError(error.args[0]) from error
    if robot.imu is None and (blind := [name for name in config.terms if name in INERTIAL]):
        raise TaskError(
            f"contract.terms has {blind[0]!r}, which an inertial sensor measures, and {robot.name} "
            "has none; take it out, or name the sensor in [imu] of robot.toml"
        )
    if unknown := [name for name in config.scales if name not in config.terms]:
        raise TaskError(
            f"contract.scales has {unknown[0]!r}, which is not among the terms: "
            f"{', '.join(config.terms)}"
        )
    return Contract(
        robot=robot.name,
        joints=robot.joints,
        servos=tuple(joint.servo for joint in robot.joint),
        modes=tuple(joint.mode for joint in robot.joint),
        control_rate=robot.control_rate,
        default_pose=pose,
        gains=tuple(dict(joint.gains) for joint in robot.joint),
        read_order=robot.read.order,
        terms=tuple(
            TermSpec(name=name, size=size, scale=config.scales.get(name, 1.0))
            for name, size in zip(config.terms, sizes, strict=True)
        ),
        history=config.history,
        command=task.command,
        action=ActionMap(
            offset=offset,
            scale=(config.action_scale,) * n,
            smoothing=config.smoothing,
            slew=config.slew,
        ),
        trained=trained or {},
    )


def load_task(name: str | Path) -> Task:
    """A task of ``sim/tasks`` by name, or the path of a Python file that defines ``TASK``.

    Raises:
        TaskError: no such task, or the file defines none that can be used.
    """
    path = Path(name)
    if path.suffix != ".py":
        path = TASKS / f"{name}.py"
        if not path.is_file():
            known = sorted(p.stem for p in TASKS.glob("*.py") if p.stem != "__init__")
            raise TaskError(
                f"there is no task {str(name)!r}; retort has {', '.join(known)}, or name a .py file"
            )
    if path.parent == TASKS:
        task = importlib.import_module(f".tasks.{path.stem}", __package__).TASK
    else:
        try:
            task = defined_in(path, "TASK")
        except DefinitionError as error:
            raise TaskError(str(error)) from error
    _check_task(task, path)
    return task


def own_file(name: str | Path) -> Path | None:
    """The file of a task that is not one of retort's; None if it is."""
    path = Path(name)
    return path if path.suffix == ".py" and path.parent != TASKS else None


def _check_task(task: Task, path: Path) -> None:
    """What can be seen of a task before there is a robot.

    Raises:
        TaskError: something is missing, or cannot be.
    """
    if isinstance(task, type):
        raise TaskError(
            f"{path}: TASK is the class {task.__name__}; write TASK = {task.__name__}()"
        )
    parts = [*Task.__annotations__, *(name for name in vars(Task) if not name.startswith("_"))]
    if missing := [name for name in parts if not hasattr(task, name)]:
        raise TaskError(
            f"{path}: TASK has no {', '.join(missing)}; a task has {', '.join(parts)}, as "
            "docs/tasks.md says"
        )
    if missing := [axis for axis in AXES if axis not in task.axes]:
        raise TaskError(
            f"{path}: axes lacks {', '.join(missing)}; every task has {', '.join(AXES)}, write "
            "axes = AXES, or (*AXES, ...) with more"
        )
    if unknown := [axis for axis in task.randomisations if axis not in task.axes]:
        raise TaskError(
            f"{path}: randomisations has the axis {unknown[0]!r}; axes has {', '.join(task.axes)}"
        )
    try:
        check("command_interval", task.command_interval, POSITIVE)
        check_rising("command_interval", task.command_interval)
    except RangeError as error:
        raise TaskError(f"{path}: {error}") from error
