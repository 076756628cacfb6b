"""Everything a recipe says about learning, as one frozen value."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

import torch

from ..hardware.errors import RetortError
from ..sim.definition import digest, is_file
from ..sim.env import SimulationConfig
from ..sim.named import GymnasiumConfig
from ..sim.switches import Switch
from ..sim.task import ContractConfig
from .curriculum import CurriculumConfig
from .distill_config import DistillConfig
from .evaluation import EvaluationConfig
from .modes import MODES
from .networks import Critic
from .ppo import PPOConfig
from .students import Student, StudentConfig, make_student, student_kind
from .worlds import GymnasiumWorld, RobotWorld, World

# What a stage's result depends on.
TEACHER_PARTS = (
    "robot",
    "task",
    "environment",
    "gymnasium",
    "seed",
    "contract",
    "simulation",
    "switches",
    "teacher",
)
STUDENT_PARTS = (*TEACHER_PARTS, "student", "distill", "curriculum")

# What is said of robots only, and what stands there where nothing is.
OF_ROBOTS = {
    "contract": None,
    "simulation": SimulationConfig(),
    "teacher.episode_seconds": PPOConfig.episode_seconds,
    "teacher.event_rate": PPOConfig.event_rate,
    "distill.episode_seconds": DistillConfig.episode_seconds,
    "distill.event_rate": DistillConfig.event_rate,
    "evaluation.seconds": EvaluationConfig.seconds,
    "evaluation.hardest_seconds": EvaluationConfig.hardest_seconds,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Where it is learnt, teacher, student and how one becomes the other.

    Either ``robot`` and ``task``, with ``contract`` and ``simulation``; or ``environment``, with
    ``gymnasium``. ``switches`` are of both: episodes of training and evaluation change in their
    middle.
    """

    robot: str | None = None  # name, or folder with a robot.toml
    task: str | None = None  # name, or a .py file that defines TASK
    environment: str | None = None  # name of a Gymnasium environment
    gymnasium: GymnasiumConfig | None = None  # how it is made; as it comes when absent
    seed: int = 1
    contract: ContractConfig | None = None  # the task's own when absent
    simulation: SimulationConfig = SimulationConfig()
    switches: tuple[Switch, ...] = ()
    teacher: PPOConfig = PPOConfig()
    student: StudentConfig = StudentConfig()
    distill: DistillConfig = DistillConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        self._check_budgets()
        student_kind(self.student.kind)
        if self.environment is not None:
            if self.robot is not None or self.task is not None:
                raise ValueError(
                    f"environment {self.environment!r} stands beside robot {self.robot!r} and task "
                    f"{self.task!r}; name an environment, or a robot and its task"
                )
            self.refuse_robots(OF_ROBOTS)
            return
        missing = [name for name in ("robot", "task") if getattr(self, name) is None]
        if missing:
            raise ValueError(
                f"{' and '.join(missing)} missing: name a robot and its task, or an environment "
                "instead of both"
            )
        if self.gymnasium is not None:
            raise ValueError(
                "gymnasium says how an environment is made, and robot and task are named; leave it "
                "out, or name an environment instead of both"
            )

    def _check_budgets(self) -> None:
        """Every budget outlasts the first rollout, from which nothing is learnt."""
        acting: dict[str, PPOConfig | DistillConfig] = {"teacher": self.teacher}
        if MODES[self.distill.mode].acts:
            acting["distill"] = self.distill
        for name, config in acting.items():
            first = config.num_envs * config.ticks
            if config.steps <= first:
                raise ValueError(
                    f"{name}.steps is {config.steps}, and the first {first} ({name}.num_envs times "
                    f"{name}.ticks) only give normalisers their scale; use more than {first}, or "
                    "fewer num_envs or ticks"
                )

    def refuse_robots(self, unsaid: Mapping[str, Any]) -> None:
        """Where an environment is named, nothing may be said that only robots have.

        Args:
            unsaid: dotted names, and what stands there where nothing is said.

        Raises:
            ValueError: something is.
        """
        for name, value in unsaid.items():
            if attrgetter(name)(self) != value:
                raise ValueError(
                    f"{name} is of robots, and the environment {self.environment!r} brings its own "
                    "episodes, observations and physics; leave it out"
                )

    @functools.cached_property
    def world(self) -> World:
        """Where it is learnt."""
        if self.environment is None:
            return self.robot_world()
        config = self.gymnasium or GymnasiumConfig()
        return GymnasiumWorld(self.environment, config, self.switches)

    def robot_world(self) -> RobotWorld:
        """The robot at its task, for what nothing else will do.

        Raises:
            RetortError: an environment is named instead.
        """
        if self.robot is None or self.task is None:
            raise RetortError(f"the environment {self.environment!r} has no robot; name one")
        return RobotWorld(self.robot, self.task, self.contract, self.simulation, self.switches)

    @property
    def hardest_level(self) -> int:
        """Of the curriculum; 0, the only one, where there are no axes of difficulty."""
        return self.curriculum.levels if self.world.axes else 0

    def make_learner(self, privileged: int) -> tuple[Student, Critic]:
        """A new student and its critic, which sees ``privileged`` numbers."""
        interface = self.world.interface()
        with torch.random.fork_rng():
            torch.manual_seed(self.seed + 1)
            student = make_student(self.student, interface)
            shared = self.distill.concurrent.shared_critic_layers > 0
            activation = self.teacher.activation if shared else "elu"
            return student, Critic(privileged, self.distill.critic_hidden, activation)

    def key(self, parts: tuple[str, ...]) -> str:
        """Text that is equal when two experiments would train the same, as far as ``parts``."""
        data = dataclasses.asdict(self)
        if self.environment is None:  # the key of a robot is what it was before there were others
            parts = tuple(name for name in parts if name not in ("environment", "gymnasium"))
        if not self.switches:  # as it was before there were any
            parts = tuple(name for name in parts if name != "switches")
        if self.distill.dataset_noise_std is None:  # as it was before it could be said
            del data["distill"]["dataset_noise_std"]
        said = {name: data[name] for name in parts}
        if code := self.code(parts):  # as it was before there was any
            said["code"] = code
        return json.dumps(said, sort_keys=True, default=str)

    def code(self, parts: Iterable[str]) -> dict[str, str]:
        """Digests of what the recipe's own files define, as far as ``parts``, by path. Teachers'
        stand with those of other teachers (``stages.finished.teacher_digests``).
        """
        distill = self.distill
        named = [distill.mode, *(t.name for t in distill.terms)] if "distill" in parts else []
        named += [self.student.kind] if "student" in parts else []
        return {name: digest(name) for name in named if is_file(name)}
