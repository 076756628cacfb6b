"""Compression (A): students smaller than their teacher, by every way there is to train them.

After Spigler 2025, table 5, whose students of 128-64 reach 0.987 to 1.004 of teachers of 256-256.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distiller import DistillConfig, Distiller
from retort.distill.distributions import Gaussian
from retort.distill.evaluation import actor_of
from retort.distill.loop import distil
from retort.distill.networks import Critic
from retort.distill.offline import DatasetSource, distil_offline
from retort.distill.ppo import PPOConfig
from retort.distill.ppo_settings import gymnasium_ppo
from retort.distill.recording import Recording
from retort.distill.rollout import RolloutSource
from retort.distill.students import Interface, Student, StudentConfig, make_student
from retort.distill.teacher import ActorTeacher, TeacherOutput
from retort.distill.terms import TermConfig

from .report import (
    interval_over_seeds,
    markdown_table,
    mean_figure,
    paragraph,
    ratio_over_seeds,
    settings_note,
)
from .results import read_results
from .runs import Log, Made, Place, Run
from .training import (
    Curve,
    final_returns,
    follow,
    learn_ppo,
    load_policy,
    make_env,
    save_policy,
    seeded,
)

TABLE = "compression"
SEEDS = (1, 2, 3)
TASKS = ("HalfCheetah", "Hopper")
TEACHER = (256, 256)
TEACHER_STEPS, STUDENT_STEPS = 3_000_000, 500_000
SIZES = ((128, 64), (64, 64), (32, 32), (16, 16))
_POINTS = 10  # on a curve

_KL = TermConfig(name="policy_kl")
_RL = TermConfig(name="rl")
_VALUE = TermConfig(name="value")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to distil; what is not said is the same for all."""

    mode: Literal["student", "teacher", "aggregate", "cloning"]
    terms: tuple[TermConfig, ...]
    sizes: tuple[tuple[int, ...], ...] = SIZES[:1]


ARMS: dict[str, Arm] = {
    # Regression on the actions that a data set of the teacher's own episodes holds.
    "behaviour-cloning": Arm(mode="cloning", terms=(TermConfig(name="mean_regression"),)),
    # The same regression on the student's own states, labelled and kept (Ross et al. 2011).
    "dagger": Arm(mode="aggregate", terms=(TermConfig(name="mean_regression"),)),
    "student-driven": Arm(mode="student", terms=(_KL,), sizes=SIZES),
    "teacher-driven": Arm(mode="teacher", terms=(_KL,)),
    # Spigler 2025: PPO's loss and the proximal KL, both at weight 1 throughout.
    "proximal": Arm(mode="student", terms=(_RL, TermConfig(name="proximal"), _VALUE)),
    # KL that gives way to the student's own reward, and keeps what it has learnt.
    "ours": Arm(
        mode="aggregate",
        terms=(
            TermConfig(name="policy_kl", weight=1.0, end=0.1, schedule="linear"),
            TermConfig(name="rl", weight=0.0, end=1.0, schedule="linear"),
            _VALUE,
        ),
        sizes=SIZES,
    ),
}


def runs() -> list[Run]:
    """Teachers, students by every arm, and PPO by itself with the student's and with all steps."""
    every: list[Run] = []
    for seed in SEEDS:
        for task in TASKS:
            teacher = _run(task, "teacher", seed, TEACHER_STEPS, _teach, keeps=True)
            every.append(teacher)
            for name, arm in ARMS.items():
                for size in arm.sizes:
                    label = f"{name} {_text(size)}"
                    every.append(_run(task, label, seed, STUDENT_STEPS, _distil, needs=(teacher,)))
            for size in SIZES:
                label = f"ppo {_text(size)}"
                every.append(_run(task, label, seed, STUDENT_STEPS, _from_scratch))
                both = TEACHER_STEPS + STUDENT_STEPS
                every.append(_run(task, f"ppo-all {_text(size)}", seed, both, _from_scratch))
    return every


def _run(task: str, arm: str, seed: int, budget: int, execute: Any, **rest: Any) -> Run:
    return Run(table=TABLE, task=task, arm=arm, seed=seed, budget=budget, execute=execute, **rest)


def _text(size: tuple[int, ...]) -> str:
    return "-".join(map(str, size))


def _size(run: Run) -> tuple[int, ...]:
    return tuple(int(width) for width in run.arm.split(" ")[1].split("-"))


def _settings(task: str, steps: int, hidden: tuple[int, ...]) -> PPOConfig:
    return gymnasium_ppo(task, "efficient", steps=steps, hidden=hidden, critic_hidden=TEACHER)


def _teach(run: Run, place: Place, log: Log) -> Made:
    made, ppo = _ppo(run, place, log, TEACHER)
    save_policy(place.checkpoint(run), ppo)
    return made


def _from_scratch(run: Run, place: Place, log: Log) -> Made:
    return _ppo(run, place, log, _size(run))[0]


def _ppo(run: Run, place: Place, log: Log, hidden: tuple[int, ...]) -> tuple[Made, Any]:
    config = _settings(run.task, place.steps(run.budget), hidden)
    every = max(1, config.steps // _POINTS)
    ppo, curve, figures = learn_ppo(run.task, config, run.seed, log, every=every)
    final = final_returns(run.task, curve.actor)
    return Made(dataclasses.asdict(config), curve.points, final, figures), ppo


def distil_config(arm: Arm, task: str, steps: int) -> DistillConfig:
    """Settings of distillation that all arms share, with what the arm says."""
    ppo = _settings(task, steps, TEACHER)
    return DistillConfig(
        mode="teacher" if arm.mode == "cloning" else arm.mode,
        steps=steps,
        num_envs=ppo.num_envs,
        ticks=ppo.ticks,
        teacher_share=0.0,
        terms=arm.terms,
        epochs=10,
        minibatches=8,
        learning_rate=1e-3,
        final_learning_rate=1e-5,
        gamma=ppo.gamma,
        lam=ppo.lam,
        fall_penalty=0.0,
    )


def _distil(run: Run, place: Place, log: Log) -> Made:
    arm = ARMS[run.arm.split(" ")[0]]
    steps = place.steps(run.budget)
    config = distil_config(arm, run.task, steps)
    teacher = _load_teacher(run, place, config)
    student_config = StudentConfig(hidden=_size(run), activation="tanh")
    student, critic = seeded(run.seed, lambda: _networks(run.task, student_config, teacher))
    distiller = Distiller(config, student, teacher, critic, run.seed)
    curve = Curve(run.task, actor_of(student), max(1, steps // _POINTS), log)
    began = time.perf_counter()
    iterations = (_clone if arm.mode == "cloning" else _interact)(run, distiller)
    figures = follow(iterations, curve, time.perf_counter() - began)
    final = final_returns(run.task, curve.actor)
    figures["steps"] = steps
    figures["teacher_queries"] = distiller.queries or steps
    figures["parameters"] = student.parameter_count()
    settings = {**dataclasses.asdict(config), "student": dataclasses.asdict(student_config)}
    return Made(settings, curve.points, final, figures)


def _load_teacher(run: Run, place: Place, config: DistillConfig) -> ActorTeacher:
    [needed] = run.needs
    settings = _settings(run.task, 1, TEACHER)
    actor, critic = load_policy(place.checkpoint(needed), run.task, settings)
    return ActorTeacher(actor, critic, std_floor=config.std_floor)


def _networks(task: str, config: StudentConfig, teacher: ActorTeacher) -> tuple[Student, Critic]:
    """A new student and its critic, behind the teacher's normaliser."""
    space = make_env(task, 1).single_action_space
    size = len(teacher.actor.normaliser.mean)
    student = make_student(config, Interface.plain(size, int(np.prod(space.shape or ()))))
    critic = Critic(size, TEACHER, "tanh")
    for network in (student, critic):
        network.normaliser.load_state_dict(teacher.actor.normaliser.state_dict())
    return student, critic


def _interact(run: Run, distiller: Distiller) -> Iterator[dict[str, Any]]:
    config = distiller.config
    env = make_env(run.task, config.num_envs)
    curriculum = Curriculum(CurriculumConfig(kind="none"), ("none",), config.num_envs, np.zeros(5))
    source = RolloutSource(env, config.ticks, running=curriculum.running)
    source.share_with_teacher(config.share(0.0))
    source.start(run.seed)
    return distil(distiller, source, curriculum)


def _clone(run: Run, distiller: Distiller) -> Iterator[dict[str, Any]]:
    """All of the budget is the teacher's; then as much learning as the other arms do."""
    config = distiller.config
    recordings = record_episodes(distiller, run.task, config.steps, run.seed)
    source = DatasetSource(recordings, num_envs=config.num_envs, ticks=config.ticks, seed=run.seed)
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
        **part,
    )


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    rows = []
    for task in TASKS:
        teachers = [r for r in every if (r.task, r.arm) == (task, "teacher")]
        for arm in dict.fromkeys(result.arm for result in every if result.task == task):
            group = [r for r in every if (r.task, r.arm) == (task, arm)]
            rows.append(
                [
                    task,
                    arm,
                    len(group),
                    mean_figure(group, "parameters"),
                    mean_figure(group, "steps"),
                    mean_figure(group, "teacher_queries"),
                    mean_figure(group, "seconds"),
                    interval_over_seeds(group),
                    "" if arm == "teacher" else ratio_over_seeds(group, teachers),
                ]
            )
    header = ["task", "arm", "seeds", "parameters", "steps", "teacher queries", "seconds"]
    return "\n\n".join(
        [
            "## Compression",
            paragraph(
                "Teachers of 256-256, students of the widths named; `ppo` is the student's network "
                "by PPO with the student's steps, `ppo-all` with the teacher's added. Return of 50 "
                "held-out deterministic episodes after the last update; S/T is paired by seed."
            ),
            markdown_table([*header, "return", "S/T"], rows),
            settings_note(every),
        ]
    )
