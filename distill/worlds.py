"""Where a recipe learns: a robot at its task, or a Gymnasium environment; each says how it is made
and what a student sees and does there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import Protocol

import numpy as np
from gymnasium.spaces import Box

from ..controller.contract import Contract
from ..hardware.errors import RobotFileError
from ..hardware.robot import ROBOTS, Robot, load_robot
from ..sim.arguments import EnvError
from ..sim.assembly import check_assembly
from ..sim.definition import digest, mistakes_named
from ..sim.env import RobotEnv, SimulationConfig, trained_ranges
from ..sim.gymnasium_tasks import GymnasiumTaskEnv
from ..sim.interface import LearningEnv
from ..sim.named import GymnasiumConfig, make_named_env
from ..sim.robot_files import robot_files
from ..sim.switches import Switch
from ..sim.task import (
    ContractConfig,
    Task,
    TaskError,
    difficulty_axes,
    load_task,
    make_contract,
    own_file,
)
from ..sim.task_trial import TRIED, try_task
from ..sim.wrapped import WrappedEnv
from .students import Interface


class World(Protocol):
    """What the stages of learning need to know of it."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the difficulty axes, none where there are none."""
        ...

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """The user's own, on which it depends, by what of it they make up; what is retort's changes
        with its version.
        """
        ...

    @property
    def resumable(self) -> bool:
        """Training that was interrupted goes on to the bit; if not, with new episodes."""
        ...

    def check(self) -> None:
        """It can be made.

        Raises:
            RetortError: it cannot.
        """
        ...

    def interface(self) -> Interface:
        """What goes into a student and what comes out."""
        ...

    def student_columns(self) -> np.ndarray | None:
        """Which number of the teacher's each of the student's is, (size,) of int, -1 where it is
        none of them; None where the two see in ways that cannot be compared.
        """
        ...

    def make_env(
        self,
        num_envs: int,
        *,
        level: float = 1.0,
        episode_seconds: float,
        event_rate: float = 1.0,
        autoreset: bool = True,
    ) -> LearningEnv:
        """Environments, as ``RobotEnv`` describes the arguments."""
        ...


def file_digests(world: World) -> dict[str, str]:
    """Of every file of ``world`` that is there, by path."""
    paths = [path for files in world.files.values() for path in files if path.is_file()]
    return {str(path.resolve()): digest(path) for path in paths}


@dataclasses.dataclass(frozen=True)
class RobotWorld:
    """A robot at its task, as a recipe names them."""

    robot: str
    task: str
    contract: ContractConfig | None  # the task's own when None
    simulation: SimulationConfig
    switches: tuple[Switch, ...] = ()

    @property
    def name(self) -> str:
        """The robot's."""
        return Path(self.robot).name

    @property
    def axes(self) -> tuple[str, ...]:
        """The task's, and those of the simulation."""
        return difficulty_axes(load_task(self.task), self.simulation.own_axes)

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """Of robot and task, none of ours and of what is not there."""
        task = own_file(self.task)
        try:
            robot = load_robot(self.robot)
            files = () if robot.folder.parent == ROBOTS else robot_files(robot)
        except RobotFileError:  # said where it is needed
            files = ()
        return {"robot": files, "task": (task,) if task else ()}

    @property
    def resumable(self) -> bool:
        """Always."""
        return True

    def load(self) -> tuple[Robot, Task, Contract]:
        """The robot, the task and the contract between them.

        Raises:
            RetortError: no such robot or task, or they do not fit.
        """
        robot, task = load_robot(self.robot), load_task(self.task)
        difficulty_axes(task, self.simulation.own_axes)  # a wrong one should not wait either
        ranges = trained_ranges(task, self.simulation)
        return robot, task, make_contract(robot, task, self.contract, ranges)

    def check(self) -> None:
        """As ``World``."""
        robot, task, _ = self.load()
        check_assembly(robot)
        own = own_file(self.task)
        try:
            with mistakes_named(own, TaskError) if own else contextlib.nullcontext():
                env = self.make_env(TRIED, episode_seconds=1.0)
                try_task(env)
        except KeyError as error:
            why = str(error.args[0]) if error.args else ""
            if not why.startswith("Invalid name"):  # MuJoCo's; of any other the traceback tells
                raise
            raise TaskError(f"task {task.name} does not fit robot {robot.name}: {why}") from error
        env.close()

    def interface(self) -> Interface:
        """The contract's."""
        _, _, contract = self.load()
        return Interface.of(contract)

    def student_columns(self) -> None:
        """Sensors and a history of them are nothing that a teacher is told."""

    def make_env(
        self,
        num_envs: int,
        *,
        level: float = 1.0,
        episode_seconds: float,
        event_rate: float = 1.0,
        autoreset: bool = True,
    ) -> RobotEnv:
        """Robots."""
        robot, task, contract = self.load()
        return RobotEnv(
            robot,
            task,
            num_envs,
            contract=contract,
            level=level,
            episode_seconds=episode_seconds,
            event_rate=event_rate,
            autoreset=autoreset,
            simulation=self.simulation,
            switches=self.switches,
        )


@dataclasses.dataclass(frozen=True)
class GymnasiumWorld:
    """A Gymnasium environment, as a recipe names it.

    Its episodes are as long as it says itself, so that a return is what others mean by it.
    """

    environment: str
    config: GymnasiumConfig
    switches: tuple[Switch, ...] = ()

    @property
    def name(self) -> str:
        """The environment's."""
        return self.environment

    @property
    def axes(self) -> tuple[str, ...]:
        """As ``World``."""
        return self._one.axes

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """A model of the user's own."""
        file = self.config.keywords.get("xml_file")
        return {"xml_file": (Path(file),)} if file else {}

    @property
    def resumable(self) -> bool:
        """Where we simulate."""
        return self._one.resumable

    def check(self) -> None:
        """As ``World``; actions must have bounds."""
        space = self._one.single_action_space
        if isinstance(space, Box) and not space.is_bounded():
            raise EnvError(
                f"actions of {self.environment!r} have no bounds ({space}), between which a random "
                "policy could draw, as scores are compared with; give its action space some"
            )

    def interface(self) -> Interface:
        """One frame, as the student sees it."""
        return Interface.of_env(self._one)

    def student_columns(self) -> np.ndarray:
        """As ``World``."""
        if isinstance(self._one, GymnasiumTaskEnv):
            return self._one.student_columns
        return np.arange(self._one.groups["student"])

    def make_env(
        self,
        num_envs: int,
        *,
        level: float = 1.0,
        episode_seconds: float,
        event_rate: float = 1.0,
        autoreset: bool = True,
    ) -> LearningEnv:
        """Copies of it; ``episode_seconds`` and ``event_rate`` are of robots and mean nothing."""
        return self._make(num_envs, level, autoreset)

    @functools.cached_property
    def _one(self) -> GymnasiumTaskEnv | WrappedEnv:
        """A copy to be asked what it is, closed."""
        env = self._make(1)
        env.close()
        return env

    def _make(
        self, num_envs: int, level: float = 1.0, autoreset: bool = True
    ) -> GymnasiumTaskEnv | WrappedEnv:
        return make_named_env(
            self.environment,
            num_envs,
            self.config,
            level=level,
            switches=self.switches,
            autoreset=autoreset,
        )
