"""Tasks with axes of difficulty, a robot's or Gymnasium's: their teachers, and students distilled
through a curriculum. What is compared is a table's business.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from retort.distill.curricula import make_curriculum
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.evaluation import actor_of, random_scores, run_episodes
from retort.distill.evaluation.forgetting import keep_snapshots
from retort.distill.loop import distil
from retort.distill.networks import Critic
from retort.distill.ppo import PPOConfig
from retort.distill.sources.rollout import Actor, RolloutSource
from retort.distill.students import Interface, Student, StudentConfig, make_student
from retort.distill.teachers import ActorTeacher
from retort.sim.env import RobotEnv
from retort.sim.gymnasium_tasks import Difficulty, GymnasiumTaskEnv, StudentView
from retort.sim.interface import LearningEnv
from retort.sim.switches import Switch
from retort.sim.task import Task

from .runs import Log, Made, Place, Run
from .training import (
    CURVE_EPISODES,
    CURVE_SEED,
    FINAL_EPISODES,
    FINAL_SEED,
    Curve,
    follow,
    learn_ppo_in,
    load_policy_for,
    save_policy,
    seeded,
)

Config = TypeVar("Config", PPOConfig, DistillConfig)

_POINTS = 10  # on a curve
_RANDOM_EPISODES = 64  # per level, for the score of a random policy


class MakeEnv(Protocol):
    """Environments of a task; ``seconds`` is the time limit, ``level`` is on every axis."""

    def __call__(
        self,
        num_envs: int,
        *,
        seconds: float,
        level: float | tuple[float, ...] = 1.0,
        event_rate: float = 1.0,
        autoreset: bool = True,
        switches: tuple[Switch, ...] | None = None,
    ) -> LearningEnv: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Varied:
    """A task with axes of difficulty, and how its teachers and students learn."""

    name: str
    make_env: MakeEnv
    teacher: PPOConfig
    distill: DistillConfig
    seconds: float  # of a held-out episode

    def make_held_out(self, episodes: int, level: float | tuple[float, ...] = 1.0) -> LearningEnv:
        """Environments for one held-out episode each."""
        return self.make_env(episodes, seconds=self.seconds, level=level, autoreset=False)

    def final_returns(self, actor: Actor) -> list[float]:
        """Returns of the held-out episodes at the hardest level."""
        env = self.make_held_out(FINAL_EPISODES)
        return np.round(run_episodes(env, actor, FINAL_SEED).returns, 2).tolist()


def robot_env(task: Task | str, switches: tuple[Switch, ...] = ()) -> MakeEnv:
    """Environments of a task of the balancer's, with ``switches`` unless others are asked for."""
    usual = switches

    def make(
        num_envs: int,
        *,
        seconds: float,
        level: float | tuple[float, ...] = 1.0,
        event_rate: float = 1.0,
        autoreset: bool = True,
        switches: tuple[Switch, ...] | None = None,
    ) -> LearningEnv:
        return RobotEnv(
            "balancer",
            task,
            num_envs,
            level=level,
            episode_seconds=seconds,
            event_rate=event_rate,
            autoreset=autoreset,
            switches=usual if switches is None else switches,
        )

    return make


def gymnasium_env(
    task: str,
    difficulty: Difficulty,
    switches: tuple[Switch, ...] = (),
    view: StudentView | None = None,
) -> MakeEnv:
    """Environments of one of Gymnasium's tasks, of which a student has a ``view``.

    ``event_rate`` is for robots and does nothing.
    """
    usual = switches
    period = GymnasiumTaskEnv(task).period

    def make(
        num_envs: int,
        *,
        seconds: float,
        level: float | tuple[float, ...] = 1.0,
        event_rate: float = 1.0,
        autoreset: bool = True,
        switches: tuple[Switch, ...] | None = None,
    ) -> LearningEnv:
        return GymnasiumTaskEnv(
            task,
            num_envs,
            max_episode_steps=round(seconds / period),
            difficulty=difficulty,
            student=view or StudentView(),
            level=level,
            switches=usual if switches is None else switches,
            actions="clipped",
            dtype="float32",
            autoreset=autoreset,
        )

    return make


class VariedCurve(Curve):
    """Mean return at the hardest level as training goes on."""

    def __init__(self, varied: Varied, actor: Actor, every: int, log: Log) -> None:
        super().__init__(varied.name, actor, every, log)
        self.varied = varied

    def measure(self) -> float:
        env = self.varied.make_held_out(CURVE_EPISODES)
        return float(run_episodes(env, self.actor, CURVE_SEED).returns.mean())


def teach(varied: Varied, run: Run, place: Place, log: Log) -> Made:
    """Train the teacher that ``run`` keeps, by PPO on everything the simulation knows."""
    config = _spending(varied.teacher, place.steps(run.budget))
    env = varied.make_env(
        config.num_envs, seconds=config.episode_seconds, event_rate=config.event_rate
    )
    every = max(1, config.steps // _POINTS)
    ppo, curve, figures = learn_ppo_in(
        env, config, run.seed, lambda actor: VariedCurve(varied, actor, every, log)
    )
    save_policy(place.checkpoint(run), ppo)
    final = varied.final_returns(curve.actor)
    return Made(dataclasses.asdict(config), curve.points, final, figures)


def load_teacher(varied: Varied, place: Place, run: Run) -> ActorTeacher:
    """The teacher that ``run`` left."""
    env = varied.make_env(1, seconds=varied.seconds)
    actor, critic = load_policy_for(place.checkpoint(run), env, varied.teacher)
    return ActorTeacher(actor, critic, std_floor=varied.distill.std_floor)


@dataclasses.dataclass(frozen=True)
class Learnt:
    """What came of a distillation."""

    student: Student
    curve: Curve
    figures: dict[str, float]
    settings: dict[str, Any]


def distil_varied(
    varied: Varied,
    teacher: ActorTeacher,
    student_config: StudentConfig,
    curriculum_config: CurriculumConfig,
    *,
    seed: int,
    steps: int,
    log: Log,
    snapshots: Path | None = None,
) -> Learnt:
    """Distil through a curriculum; its last frontier is among the figures.

    Args:
        varied: on which.
        teacher: labels, and drives its share of the environments.
        student_config: of the student.
        curriculum_config: of the curriculum.
        seed: of networks, environments and minibatches.
        steps: environment steps, the teacher's share included.
        log: told of every point of the curve.
        snapshots: folder of the students at each level change, if they are wanted.
    """
    config = _spending(varied.distill, steps)
    began = time.perf_counter()
    env = varied.make_env(
        config.num_envs, seconds=config.episode_seconds, event_rate=config.event_rate
    )
    student, critic = seeded(seed, lambda: _networks(env, student_config, config))
    distiller = Distiller(config, student, [teacher], critic, seed)
    curriculum = _curriculum(varied, curriculum_config, env, config)
    env.level_source = curriculum.assign
    source = RolloutSource(env, config.ticks, student.state_size, running=curriculum.running)
    source.share_with_teacher(config.share(0.0))
    source.start(seed)
    iterations = distil(distiller, source, curriculum)
    if snapshots is not None:
        iterations = keep_snapshots(
            iterations,
            student,
            env,
            curriculum_config.levels,
            snapshots,
            start=curriculum.frontier,
        )
    curve = VariedCurve(varied, actor_of(student), max(1, config.steps // _POINTS), log)
    figures = follow(iterations, curve, time.perf_counter() - began)
    figures["teacher_queries"] = distiller.queries
    figures["parameters"] = student.parameter_count()
    figures |= {f"level of {axis}": float(at) for axis, at in curriculum.frontier.items()}
    settings = {
        **dataclasses.asdict(config),
        "student": dataclasses.asdict(student_config),
        "curriculum": dataclasses.asdict(curriculum_config),
    }
    return Learnt(student, curve, figures, settings)


def _spending(config: Config, steps: int) -> Config:
    """With a budget: some iterations at least, the first of which only measures scales."""
    return dataclasses.replace(config, steps=max(steps, 3 * config.num_envs * config.ticks))


def _networks(
    env: LearningEnv, student_config: StudentConfig, config: DistillConfig
) -> tuple[Student, Critic]:
    return (
        make_student(student_config, interface_of(env)),
        Critic(env.groups["teacher"], config.critic_hidden),
    )


def interface_of(env: LearningEnv) -> Interface:
    """What a student of ``env`` sees and says."""
    if isinstance(env, RobotEnv):
        return Interface.of(env.contract)
    return Interface.of_env(env)


def _curriculum(
    varied: Varied, config: CurriculumConfig, env: LearningEnv, distill: DistillConfig
) -> Curriculum:
    """With the scores of a random policy where the gate reads them."""
    scores = np.zeros(config.levels + 1)
    if config.follows_scores:
        make: Callable[[float], LearningEnv] = lambda level: varied.make_env(  # noqa: E731
            _RANDOM_EPISODES, seconds=distill.episode_seconds, level=level, autoreset=False
        )
        scores = random_scores(make, config.levels, CURVE_SEED)
    return make_curriculum(config, env.axes, distill.num_envs, scores)
