"""Everything a recipe says about learning, as one frozen value."""

from __future__ import annotations

import dataclasses
import json

import torch

from ..controller.contract import Contract
from ..hardware.robot import Robot, load_robot
from ..sim.env import RobotEnv, SimulationConfig, trained_ranges
from ..sim.task import ContractConfig, Task, difficulty_axes, load_task, make_contract
from .curriculum import CurriculumConfig
from .distill_config import DistillConfig
from .evaluation import EvaluationConfig
from .networks import Critic
from .ppo import PPOConfig
from .students import Student, StudentConfig, make_student

# What a stage's result depends on.
TEACHER_PARTS = ("robot", "task", "seed", "contract", "simulation", "teacher")
STUDENT_PARTS = (*TEACHER_PARTS, "student", "distill", "curriculum")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Robot, task, teacher, student and how one becomes the other."""

    robot: str  # name, or folder with a robot.toml
    task: str  # name, or a .py file that defines TASK
    seed: int = 1
    contract: ContractConfig | None = None  # the task's own when absent
    simulation: SimulationConfig = SimulationConfig()
    teacher: PPOConfig = PPOConfig()
    student: StudentConfig = StudentConfig()
    distill: DistillConfig = DistillConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    def load(self) -> tuple[Robot, Task, Contract]:
        """The robot, the task and the contract between them.

        Raises:
            RetortError: no such robot or task, or they do not fit.
        """
        robot, task = load_robot(self.robot), load_task(self.task)
        difficulty_axes(task, self.simulation.own_axes)  # a wrong one should not wait either
        ranges = trained_ranges(task, self.simulation)
        return robot, task, make_contract(robot, task, self.contract, ranges)

    def make_env(
        self,
        num_envs: int,
        *,
        level: float = 1.0,
        episode_seconds: float,
        event_rate: float = 1.0,
        autoreset: bool = True,
    ) -> RobotEnv:
        """Environments of this experiment."""
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
        )

    def make_learner(self, contract: Contract, privileged: int) -> tuple[Student, Critic]:
        """A new student and its critic, which sees ``privileged`` numbers."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed + 1)
            student = make_student(self.student, contract)
            return student, Critic(privileged, self.distill.critic_hidden)

    def key(self, parts: tuple[str, ...]) -> str:
        """Text that is equal when two experiments would train the same, as far as ``parts``."""
        data = dataclasses.asdict(self)
        return json.dumps({name: data[name] for name in parts}, sort_keys=True, default=str)
