"""Distillation on Gymnasium's tasks as every table does it: what an arm is, and how it is run."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from retort.distill.concurrent import LearningTeacher
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.distributions import Gaussian
from retort.distill.evaluation import actor_of
from retort.distill.loop import distil
from retort.distill.modes import MODES
from retort.distill.networks import Critic, take_over
from retort.distill.ppo import PPO
from retort.distill.sources.adversary import lied_to
from retort.distill.sources.offline import DatasetSource, distil_offline
from retort.distill.sources.recording import Recording
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import Interface, MlpStudent, Student, StudentConfig, make_student
from retort.distill.teachers import ActorTeacher, Teacher, TeacherOutput
from retort.distill.terms import TermConfig
from retort.sim.gymnasium_tasks import GymnasiumTaskEnv, StudentView
from retort.sim.interface import LearningEnv
from retort.sim.several import SeveralEnv
from torch import Tensor

from .runs import Log
from .teaching import HIDDEN, STD_FLOOR, teacher_settings
from .training import EVERYTHING, Curve, final_returns, follow, make_env, seeded
from .windows import WindowEnv

KL = TermConfig(name="policy_kl")
RL = TermConfig(name="rl")
VALUE = TermConfig(name="value")
OWN_VALUE = TermConfig(name="value", options={"until": 0.0})  # none of the teacher's is believed
_POINTS = 5  # on a curve unless it says how many steps there are between two


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to distil; what is not said is the same for all.

    Where nobody acts, the first teacher's own episodes are learnt from, by their actions alone
    unless they are ``labelled``. Where the teacher learns too, it goes on from where it is. An arm
    that is not ``taught`` learns from its own reward alone, and no teacher is asked.
    """

    mode: str  # one of MODES
    terms: tuple[TermConfig, ...]
    taught: bool = True
    labelled: bool = True
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)  # of ``DistillConfig``


ARMS: dict[str, Arm] = {
    # Regression on the actions that a data set of the teacher's own episodes holds.
    "behaviour-cloning": Arm(
        mode="offline", labelled=False, terms=(TermConfig(name="mean_regression"),)
    ),
    # The same regression on the student's own states, labelled and kept (Ross et al. 2011).
    "dagger": Arm(mode="aggregate", terms=(TermConfig(name="mean_regression"),)),
    "student-driven": Arm(mode="student", terms=(KL,)),
    "teacher-driven": Arm(mode="teacher", terms=(KL,)),
    # Spigler 2025: PPO's loss and the proximal KL, both at weight 1 throughout; values are learnt
    # from the student's own returns.
    "proximal": Arm(mode="student", terms=(RL, TermConfig(name="proximal"), OWN_VALUE)),
    # KL that gives way to the student's own reward, and keeps what it has learnt.
    "ours": Arm(
        mode="aggregate",
        terms=(
            TermConfig(name="policy_kl", weight=1.0, end=0.1, schedule="linear"),
            TermConfig(name="rl", weight=0.0, end=1.0, schedule="linear"),
            VALUE,
        ),
    ),
}


def let_go(std: float, until: float = 0.3) -> Arm:
    """An arm for teachers that cannot simply be copied: damaged ones, those that know more than the
    student, or have never been attacked.

    The student's own reward counts from the start, the KL is gone after the part ``until`` of the
    steps, and the teacher's values are not believed. It may not claim to be surer than the student
    is at first, with ``std`` for its deviation: one that has learnt to be as sure as its teacher
    tries nothing else any more.
    """
    return Arm(
        mode="student",
        terms=(
            TermConfig(name="policy_kl", end=0.0, schedule="linear", until=until),
            RL,
            OWN_VALUE,
        ),
        changes={"std_floor": std},
    )


def first_std(task: str) -> float:
    """The deviation that PPO begins with."""
    return teacher_settings(task, 1).initial_std


@dataclasses.dataclass(frozen=True)
class Distilled:
    """What came of it."""

    student: Student
    critic: Critic
    distiller: Distiller
    curve: Curve
    final: list[float]  # returns of the held-out episodes
    figures: dict[str, float]
    settings: dict[str, Any]
    learning: LearningTeacher | None = None  # a teacher that learnt beside it


def distil_config(arm: Arm, task: str, steps: int) -> DistillConfig:
    """Settings of distillation that all arms share, with what the arm says."""
    ppo = teacher_settings(task, steps)
    shared: dict[str, Any] = {
        "mode": arm.mode,
        "steps": steps,
        "num_envs": ppo.num_envs,
        "ticks": ppo.ticks,
        "teacher_share": 0.0,
        "terms": arm.terms,
        "std_floor": STD_FLOOR,
        "epochs": 10,
        "minibatches": 8,
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-5,
        "gamma": ppo.gamma,
        "lam": ppo.lam,
        "fall_penalty": 0.0,
        "critic_hidden": HIDDEN,
    }
    return DistillConfig(**{**shared, **arm.changes})


def distil_arm(
    arm: Arm,
    task: str,
    taught: Sequence[Teacher],
    student_config: StudentConfig,
    *,
    seed: int,
    steps: int,
    log: Log,
    every: int | None = None,
    target: float = float("inf"),
    view: StudentView = EVERYTHING,
    around: Callable[[LearningEnv], LearningEnv] | None = None,
    episodes: int | None = None,
    learner: PPO | None = None,
) -> Distilled:
    """Distil by an arm and evaluate what comes of it.

    Args:
        arm: how.
        task: on which.
        taught: the teachers; the first one drives where a teacher acts.
        student_config: of the student, which begins behind the first teacher's normaliser.
        seed: of networks, environments and minibatches.
        steps: environment steps.
        log: told of every point of the curve.
        every: environment steps between two points of the curve; a fifth when None.
        target: return at which, reached by two successive points, it ends.
        view: what the student sees, in learning and evaluation.
        around: makes of the environments those that the student learns in.
        episodes: held-out ones; as ``final_returns`` says when None.
        learner: goes on as the teacher of ``concurrent``; a copy of the first teacher when None.
    """
    config = distil_config(arm, task, steps)
    env = make_env(task, config.num_envs, view=view)
    student = seeded(seed, lambda: _student(env, student_config, taught[0]))
    learnt_in: LearningEnv = env if around is None else around(env)
    critic = seeded(seed + 1, lambda: _critic(learnt_in, config.critic_hidden, student, taught[0]))
    teachers: list[Teacher] = [Silent(env)]
    if arm.taught:
        teachers = [_floored(teacher, config.std_floor) for teacher in taught]
    learning, mode = None, MODES[arm.mode]
    if mode.teacher_learns:
        assert isinstance(taught[0], ActorTeacher)
        ppo = learner or _learner(task, config, learnt_in, taught[0], seed)
        shared = student if isinstance(student, MlpStudent) else None
        learning = LearningTeacher(ppo, config.concurrent, shared, std_floor=config.std_floor)
        teachers = [learning.teacher]
    distiller = Distiller(config, student, teachers, critic, seed)
    every = every or max(1, steps // _POINTS)
    curve = Curve(task, actor_of(student), every, log, target, view)
    began, cpu = time.perf_counter(), time.process_time()
    if mode.acts:
        iterations = _interact(learnt_in, distiller, seed, learning)
    else:
        iterations = _learn_from_episodes(task, distiller, seed, arm.labelled)
    before, cpu = time.perf_counter() - began, time.process_time() - cpu
    figures = follow(iterations, curve, before)
    figures["cpu_seconds"] = round(figures["cpu_seconds"] + cpu, 2)
    if not mode.acts:
        figures["steps"] = steps
    figures["teacher_queries"] = (distiller.queries or figures["steps"]) if arm.taught else 0
    figures["parameters"] = student.parameter_count()
    settings = {**dataclasses.asdict(config), "student": dataclasses.asdict(student_config)}
    final = final_returns(task, curve.actor, view, episodes=episodes)
    return Distilled(student, critic, distiller, curve, final, figures, settings, learning)


class Silent:
    """Stands for the teacher of a student that has none: what it says is not learnt from."""

    def __init__(self, env: LearningEnv) -> None:
        self._actions = int(np.prod(env.single_action_space.shape or ()))

    def initial_state(self, n: int) -> Tensor:
        return torch.zeros(n, 0)

    def __call__(
        self, observations: dict[str, Tensor], state: Tensor, resets: Tensor
    ) -> tuple[TeacherOutput, Tensor]:
        nothing = torch.zeros(*resets.shape, self._actions)
        return TeacherOutput(Gaussian(nothing, nothing + 1.0)), state


def _floored(teacher: Teacher, std_floor: float) -> Teacher:
    """A teacher that claims no less deviation than the settings say, if it is an actor of ours."""
    if not isinstance(teacher, ActorTeacher):
        return teacher
    floored = copy.copy(teacher)
    floored.std_floor = std_floor
    return floored


def _student(env: LearningEnv, config: StudentConfig, teacher: Teacher) -> Student:
    """A new student, behind the teacher's normaliser of what it sees if that is an actor of ours
    on this task's observations."""
    student = make_student(config, Interface.of_env(env))
    if isinstance(teacher, ActorTeacher) and isinstance(env, GymnasiumTaskEnv):
        columns = torch.from_numpy(env.student_columns)
        take_over(student.normaliser, teacher.actor.normaliser, columns)
    return student


def _critic(
    env: LearningEnv, hidden: tuple[int, ...], student: Student, teacher: Teacher
) -> Critic:
    """A new critic, behind the teacher's normaliser or, of a window of its observations, that of
    the student; behind none where the student has none. It whitens a window if the student does."""
    whiten = student.whitening is not None and isinstance(env, WindowEnv)
    critic = Critic(env.groups["teacher"], hidden, "tanh", whiten=whiten)
    if float(student.normaliser.count) == 0.0 or not isinstance(teacher, ActorTeacher):
        return critic
    known = teacher.actor.normaliser
    if len(known.mean) != len(critic.normaliser.mean):
        known = student.normaliser
    frames = len(critic.normaliser.mean) // len(known.mean)
    critic.normaliser.load_state_dict(
        {n: v.repeat(frames) if v.ndim else v for n, v in known.state_dict().items()}
    )
    return critic


def _learner(
    task: str, config: DistillConfig, env: LearningEnv, teacher: ActorTeacher, seed: int
) -> PPO:
    """A copy of ``teacher`` that goes on learning, at a tenth of the rate it began with."""
    settings = teacher_settings(task, config.steps)
    settings = dataclasses.replace(
        settings,
        learning_rate=settings.learning_rate / 10,
        reward_scale="horizon",  # the unit of its critic's values
    )
    ppo = PPO(settings, env, seed)
    assert teacher.critic is not None
    ppo.actor, ppo.critic = copy.deepcopy(teacher.actor), copy.deepcopy(teacher.critic)
    for network in (ppo.actor, ppo.critic):
        network.train().requires_grad_(True)
    ppo.make_optimiser()
    return ppo


def _interact(
    env: LearningEnv, distiller: Distiller, seed: int, learning: LearningTeacher | None = None
) -> Iterator[dict[str, Any]]:
    config = distiller.config
    curriculum = Curriculum(CurriculumConfig(kind="none"), ("none",), config.num_envs, np.zeros(5))
    tasks = torch.from_numpy(env.tasks) if isinstance(env, SeveralEnv) else None
    source = RolloutSource(
        lied_to(env, distiller.student, config.adversary, config.steps, seed),
        config.ticks,
        distiller.student.state_size,
        running=curriculum.running,
        tasks=tasks,
    )
    source.share_with_teacher(config.share(0.0))
    source.start(seed)
    return distil(distiller, source, curriculum, learning=learning)


def _learn_from_episodes(
    task: str, distiller: Distiller, seed: int, labels: bool
) -> Iterator[dict[str, Any]]:
    """All of the budget is the teacher's; then as much learning as the other arms do."""
    config = distiller.config
    recordings = record_episodes(distiller, task, config.steps, seed)
    if labels:
        recordings = [labelled(recording, distiller) for recording in recordings]
    source = DatasetSource(recordings, num_envs=config.num_envs, ticks=config.ticks, seed=seed)
    return distil_offline(distiller, source)


@torch.no_grad()
def record_episodes(distiller: Distiller, task: str, steps: int, seed: int) -> list[Recording]:
    """At least ``steps`` transitions of the first teacher's whole episodes, with its actions alone
    for labels, as a data set of demonstrations has them.
    """
    recordings: list[Recording] = []
    kept, n = 0, 64
    env = make_env(task, n, autoreset=False)
    while kept < steps:
        _, info = env.reset(seed=seed + 1000 * len(recordings))
        reset, state = torch.zeros(n, dtype=torch.bool), torch.zeros(n, 0)
        rows: dict[str, list[np.ndarray]] = {
            name: [] for name in ("action", "log_prob", "reward", "terminated", "truncated")
        }
        seen = [info["student"]]
        for _ in range(env.episode_ticks):
            groups = {group: torch.from_numpy(info[group]) for group in env.groups}
            action, log_prob, _ = distiller.act_as_teacher(groups, state, reset)
            _, reward, terminated, truncated, info = env.step(action.numpy())
            done = (reward, terminated, truncated)
            for name, value in zip(rows, (action.numpy(), log_prob.numpy(), *done), strict=True):
                rows[name].append(value)
            seen.append(info["student"])
            if (terminated | truncated).all():
                break
        stacked = {name: np.stack(values) for name, values in rows.items()}
        for i in range(n):
            if kept < steps:
                recordings.append(_episode(stacked, np.stack(seen), i))
                kept += len(recordings[-1])
    return recordings


@torch.no_grad()
def labelled(recording: Recording, distiller: Distiller) -> Recording:
    """``recording`` with what every teacher says of its situations for labels."""
    seen = {group: rows[:-1, None] for group, rows in recording.observations.items()}
    never = torch.zeros(len(recording), 1, dtype=torch.bool)
    said = [t(seen, t.initial_state(1), never)[0] for t in distiller.teachers]
    distiller.panel.queries += len(recording) * len(said)
    plain = [dataclasses.replace(one.select((slice(None), 0)), features={}) for one in said]
    return dataclasses.replace(recording, labels=tuple(plain))


def _episode(rows: dict[str, np.ndarray], seen: np.ndarray, env: int) -> Recording:
    ended = rows["terminated"][:, env] | rows["truncated"][:, env]
    length = int(ended.argmax()) + 1
    part = {name: torch.from_numpy(values[:length, env].copy()) for name, values in rows.items()}
    part["reward"] = part["reward"].float()
    observation = torch.from_numpy(seen[: length + 1, env].copy())
    label = Gaussian(part["action"], torch.ones_like(part["action"]))
    return Recording(
        observations={"student": observation, "teacher": observation},
        level=torch.zeros(length, 0),
        task=torch.zeros(length, dtype=torch.int64),
        labels=(TeacherOutput(label),),
        values_of=(None,),
        **part,
    )
