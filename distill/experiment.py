"""Everything a recipe says about learning, as one frozen value."""

from __future__ import annotations

import dataclasses

from ..controller.contract import Contract
from ..hardware.robot import Robot, load_robot
from ..sim.env import RobotEnv, SimulationConfig, trained_ranges
from ..sim.task import ContractConfig, Task, load_task, make_contract
from .curriculum import CurriculumConfig
from .distiller import DistillConfig
from .evaluation import EvaluationConfig
from .ppo import PPOConfig
from .students import StudentConfig


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
