"""Several teachers of different tasks on one body, and one student that is told its task.

Routing is the default because teachers that disagree cannot be averaged; the row that does shows
it. The body is HalfCheetah's; one teacher runs forward, the other back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from retort.distill.evaluation.statistics import bootstrap, interquartile_mean
from retort.distill.students import StudentConfig
from retort.distill.teachers import ActorTeacher
from retort.distill.teachers.mixture import MixtureConfig

from ..claims import Claim
from ..distilling import ARMS, KL, Arm, distil_arm
from ..report import (
    interval_over_seeds,
    markdown_table,
    mean_figure,
    paragraph,
    said,
    settings_note,
    verdict,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..teaching import STD_FLOOR, teacher_settings
from ..training import (
    FINAL_EPISODES,
    SEVERAL,
    final_returns,
    learn_ppo,
    load_policy,
    save_policy,
)

TABLE = "routed"
SEEDS = (1, 2, 3)
TASK = "HalfCheetah-both"
TEACHER = (128, 128)
TEACHER_STEPS = 1_000_000
STUDENT = (128, 64)
STEPS = 300_000  # of both tasks together
LEAST, LEAST_EACH, LARGEST = 0.95, 0.9, 0.5
_POINTS = 10  # on a curve

ROUTED = "routed"  # the arm that is claimed
_BY_TASK = {"teachers": MixtureConfig(weighting="task")}
_EQUAL = {"teachers": MixtureConfig(weighting="fixed")}
_ARMS = {
    ROUTED: Arm(mode="aggregate", terms=(KL,), changes=_BY_TASK),
    # Routed, while the KL gives way to the reward of the task at hand.
    "routed-reward": dataclasses.replace(ARMS["ours"], changes=_BY_TASK),
    "averaged": Arm(mode="aggregate", terms=(KL,), changes=_EQUAL),
}


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Seed by seed: the teachers, then the students of both."""
    every: list[Run] = []
    for seed in seeds:
        teachers = tuple(_teacher_run(task, seed) for task in SEVERAL[TASK])
        every += teachers
        every += [
            Run(
                table=TABLE,
                task=TASK,
                arm=arm,
                seed=seed,
                budget=STEPS,
                execute=_distil,
                needs=teachers,
            )
            for arm in _ARMS
        ]
    return every


def _teacher_run(task: str, seed: int) -> Run:
    return Run(
        table=TABLE,
        task=task,
        arm="teacher",
        seed=seed,
        budget=TEACHER_STEPS,
        execute=_teach,
        keeps=True,
    )


def _teach(run: Run, place: Place, log: Log) -> Made:
    config = teacher_settings(run.task, place.steps(run.budget), TEACHER)
    every = max(1, config.steps // _POINTS)
    ppo, curve, figures = learn_ppo(run.task, config, run.seed, log, every=every)
    save_policy(place.checkpoint(run), ppo)
    final = final_returns(run.task, curve.actor)
    return Made(dataclasses.asdict(config), curve.points, final, figures)


def _load(place: Place, run: Run) -> ActorTeacher:
    """A teacher, which does not see the one-hot of the task behind its observation."""
    settings = teacher_settings(run.task, 1, TEACHER)
    actor, critic = load_policy(place.checkpoint(run), run.task, settings)
    known = slice(len(actor.normaliser.mean))
    return ActorTeacher(actor, critic, std_floor=STD_FLOOR, columns=known)


def _distil(run: Run, place: Place, log: Log) -> Made:
    steps, tasks = place.steps(run.budget), SEVERAL[run.task]
    made = distil_arm(
        _ARMS[run.arm],
        run.task,
        [_load(place, needed) for needed in run.needs],
        StudentConfig(hidden=STUDENT, activation="tanh"),
        seed=run.seed,
        steps=steps,
        log=log,
        every=max(1, steps // _POINTS),
    )
    each = np.mean(
        np.split(np.array(made.final), len(tasks)), axis=1
    )  # the first task's come first
    figures = {**made.figures, **dict(zip(map(_of, tasks), each.tolist(), strict=True))}
    return Made(made.settings, made.curve.points, made.final, figures)


def _of(task: str) -> str:
    """The figure that is the student's return at a task."""
    return f"return of {task}"


def claims(results: Path) -> list[Claim]:
    """Of the plain routed arm, whichever of the two does better."""
    every = read_results(results, TABLE)
    teachers = [r for r in every if r.arm == "teacher"]
    group = [r for r in every if (r.task, r.arm) == (TASK, ROUTED)]
    ratios = _ratios(group, teachers)
    if not len(ratios):
        return []
    each = ", ".join(_interval(column) for column in ratios.T)
    return [
        Claim(
            what=f"`{ROUTED}`, S/T on average (each)",
            wanted=f"{LEAST} ({LEAST_EACH})",
            found=f"{_interval(ratios.mean(1))} ({each})",
            met=verdict(_met(ratios, group, teachers), group, SEEDS),
        )
    ]


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    tasks = SEVERAL[TASK]
    teachers = [r for r in every if r.arm == "teacher"]
    rows: list[list[Any]] = []
    for task in tasks:
        group = [r for r in teachers if r.task == task]
        if group:
            counts = [mean_figure(group, name) for name in ("parameters", "steps", "cpu_seconds")]
            rows.append([f"teacher of {task}", len(group), *counts, interval_over_seeds(group)])
            rows[-1] += [""] * (len(tasks) + 2)
    for arm in _ARMS:
        group = [r for r in every if (r.task, r.arm) == (TASK, arm)]
        ratios = _ratios(group, teachers)
        if len(ratios):
            counts = [mean_figure(group, name) for name in ("parameters", "steps", "cpu_seconds")]
            each = [_interval(column) for column in ratios.T]
            met = verdict(_met(ratios, group, teachers), group, SEEDS)
            row = [arm, len(group), *counts, interval_over_seeds(group), *each]
            rows.append([*row, _interval(ratios.mean(1)), met])
    header = ["arm", "seeds", "parameters", "steps", "CPU seconds", "return"]
    header += [*(f"S/T {task}" for task in tasks), "S/T on average"]
    return "\n\n".join(
        [
            "## Teachers of different tasks",
            paragraph(
                f"Two teachers of {'-'.join(map(str, TEACHER))} by PPO run HalfCheetah forward and "
                "back (`forward_reward_weight` 1 and -1); one student of "
                f"{'-'.join(map(str, STUDENT))}, told its task by a one-hot, learns both side by "
                "side. `routed`: KL to the teacher of the task at hand; `routed-reward`: the KL "
                "gives way to the task's reward; `averaged`: KL to both with equal weights, which "
                f"is no policy for either. Return of {FINAL_EPISODES} held-out episodes of each "
                f"task. Wanted of `{ROUTED}`: at least {LEAST} on average, each at least "
                f"{LEAST_EACH}, with at most half of the teachers' parameters together. Published "
                "for experts averaged and not on stepping stones: 73 % against 98.8 %."
            ),
            markdown_table([*header, "met"], rows),
            settings_note(every),
        ]
    )


def _ratios(group: list[Result], teachers: list[Result]) -> np.ndarray:
    """Returns in parts of the teacher's of the same seed, (seeds, tasks)."""
    taught = {(r.task, r.seed): r.mean_return for r in teachers}
    rows = [
        [r.figures[_of(task)] / taught[task, r.seed] for task in SEVERAL[TASK]]
        for r in group
        if all((task, r.seed) in taught for task in SEVERAL[TASK])
    ]
    return np.array(rows)


def _interval(ratios: np.ndarray) -> str:
    """Interquartile mean over seeds (seeds,) with its 95 % interval."""
    return said(bootstrap(interquartile_mean, ratios[:, None], np.random.default_rng(0)))


def _met(ratios: np.ndarray, group: list[Result], teachers: list[Result]) -> bool:
    """By the middle values over seeds."""
    together = sum(
        np.mean([r.figures["parameters"] for r in teachers if r.task == task])
        for task in SEVERAL[TASK]
    )
    size = np.mean([r.figures["parameters"] for r in group]) / together
    whole, *each = (
        float(interquartile_mean(column[:, None])) for column in (ratios.mean(1), *ratios.T)
    )
    return whole >= LEAST and min(each) >= LEAST_EACH and bool(size <= LARGEST)
