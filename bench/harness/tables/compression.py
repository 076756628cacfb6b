"""Compression (A): students smaller than their teacher, by every way there is to train them.

After Spigler 2025, table 5, whose students of 128-64 reach 0.987 to 1.004 of teachers of 256-256.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from retort.distill.evaluation.statistics import Interval, normalised_ratio
from retort.distill.students import StudentConfig

from ..claims import Claim
from ..distilling import ARMS, distil_arm
from ..report import (
    COSTS,
    better_than,
    cost_cells,
    interval_over_seeds,
    markdown_table,
    normalised_over_seeds,
    paired_ratio,
    paragraph,
    plot_profiles,
    ratio_over_seeds,
    settings_note,
    shown_by_interval,
    verdict,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..teaching import STEPS as TEACHER_STEPS
from ..teaching import TABLE as TEACHERS
from ..teaching import load_teacher, teacher_run, teacher_settings
from ..training import final_returns, learn_ppo
from .chance import random_scores

TABLE = "compression"
SEEDS = (1, 2, 3)
TASKS = ("HalfCheetah", "Hopper")
STEPS = 500_000
FIRST, SMALLER = (128, 64), ((64, 64), (32, 32), (16, 16))
BEST = ("ours", "student-driven")  # the two that go on to the smaller sizes
PUBLISHED = {"HalfCheetah": 0.989, "Hopper": 1.004}  # best ratio of three methods at 128-64
MIDDLE, LOWER = 0.99, 0.95  # wanted of the interquartile mean and the interval's lower end
_STEPS_PER_POINT = 20_000  # on a curve
_WHY = (
    "students return what their teachers do, here and with the arms beside this one; the best "
    "published ones return more than theirs"
)


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Students by every arm, and PPO by itself with the student's and with all steps."""
    every: list[Run] = []
    for seed in seeds:
        for size in (FIRST, *SMALLER):
            for task in TASKS:
                for name in ARMS if size == FIRST else BEST:
                    needs = (teacher_run(task, seed),)
                    every.append(_run(task, name, size, seed, STEPS, _distil, needs=needs))
                every.append(_run(task, "ppo", size, seed, STEPS, _from_scratch))
        for size in (FIRST, *SMALLER):
            for task in TASKS:
                both = TEACHER_STEPS + STEPS
                every.append(_run(task, "ppo-all", size, seed, both, _from_scratch))
    return every


def _run(
    task: str, arm: str, size: tuple[int, ...], seed: int, budget: int, execute: Any, **rest: Any
) -> Run:
    label = f"{arm} {'-'.join(map(str, size))}"
    return Run(table=TABLE, task=task, arm=label, seed=seed, budget=budget, execute=execute, **rest)


def _size(run: Run) -> tuple[int, ...]:
    return tuple(int(width) for width in run.arm.split(" ")[1].split("-"))


def _from_scratch(run: Run, place: Place, log: Log) -> Made:
    config = teacher_settings(run.task, place.steps(run.budget), _size(run))
    every = _STEPS_PER_POINT
    _, curve, figures = learn_ppo(run.task, config, run.seed, log, every=every)
    final = final_returns(run.task, curve.actor)
    return Made(dataclasses.asdict(config), curve.points, final, figures)


def _distil(run: Run, place: Place, log: Log) -> Made:
    [needed] = run.needs
    made = distil_arm(
        ARMS[run.arm.split(" ")[0]],
        run.task,
        [load_teacher(place, needed)],
        StudentConfig(hidden=_size(run), activation="tanh"),
        seed=run.seed,
        steps=place.steps(run.budget),
        log=log,
        every=_STEPS_PER_POINT,
    )
    return Made(made.settings, made.curve.points, made.final, made.figures)


def claims(results: Path) -> list[Claim]:
    """Of the arm that comes nearest to what is wanted at the first size."""
    every, taught = read_results(results, TABLE), read_results(results, TEACHERS)
    size = "-".join(map(str, FIRST))
    made = []
    for task in TASKS:
        teachers = [result for result in taught if result.task == task]
        arms = {
            arm: found
            for arm in ARMS
            if (found := paired_ratio(_group(every, task, f"{arm} {size}"), teachers)) is not None
        }
        if arms:
            best = max(arms, key=lambda arm: _least(task, arms[arm]))
            group = _group(every, task, f"{best} {size}")
            made.append(
                Claim(
                    what=f"{task}, {size}",
                    wanted=f"S/T at least {MIDDLE}, its interval from {LOWER} or above to "
                    f"{PUBLISHED[task]} (published) or above",
                    found=f"{ratio_over_seeds(group, teachers)} by `{best}`",
                    met=_met(task, f"{best} {size}", group, teachers),
                    why=_WHY if arms[best].high < PUBLISHED[task] else "",
                )
            )
    return made


def _least(task: str, found: Interval) -> float:
    """The least of three shares: the middle and both ends, of what is wanted of each."""
    return min(found.value / MIDDLE, found.low / LOWER, found.high / PUBLISHED[task])


def _group(every: Sequence[Result], task: str, arm: str) -> list[Result]:
    return [result for result in every if (result.task, result.arm) == (task, arm)]


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    rows, random = [], random_scores(results)
    taught = read_results(results, TEACHERS)
    for task in TASKS:
        teachers = [result for result in taught if result.task == task]
        for arm in dict.fromkeys(result.arm for result in every if result.task == task):
            group = _group(every, task, arm)
            rows.append(
                [
                    task,
                    arm,
                    *cost_cells(group),
                    interval_over_seeds(group),
                    ratio_over_seeds(group, teachers),
                    normalised_over_seeds(group, teachers, random.get(task)),
                    better_than(group, _group(every, task, _plain(arm)), teachers),
                    _met(task, arm, group, teachers),
                ]
            )
    header = ["task", "arm", *COSTS]
    return "\n\n".join(
        [
            "## Compression",
            paragraph(
                "Teachers of 256-256, students of the widths named; `ppo` is the student's network "
                "by PPO with the student's steps, `ppo-all` with the teacher's added. Return of 50 "
                "held-out deterministic episodes after the last update; S/T is paired by seed, and "
                "J_0 is what random actions return. Better: the probability that a run's S/T is "
                "higher than that of one of `student-driven` with the same network, over the "
                "seeds that both have. To the smaller networks go `ours` and `student-driven`, "
                "the plain form of what it extends; they were named before anything was measured "
                "and are not always the two that are best at 128-64."
            ),
            paragraph(
                "`behaviour-cloning` regresses on the actions of the teacher's own episodes; "
                "`dagger` on the teacher's mean where the student acts, and learns again from the "
                "last 50 batches (102 k steps) it has kept, without a share of the teacher's own "
                "acts; `student-driven` and `teacher-driven` have the forward KL where the student "
                "or the teacher acts; `proximal` is Spigler's (2025), but that the student's "
                "normaliser goes on counting; `ours` keeps batches as "
                "`dagger` does, has the forward KL, which gives way to the student's own reward, "
                "and the teacher's values."
            ),
            paragraph(
                f"Wanted of the best arm at 128-64: S/T at least {MIDDLE}, the interval's lower "
                f"end at least {LOWER}, and no interval wholly below the best of three published "
                "methods (Spigler 2025, with more steps and seeds): "
                + ", ".join(f"{task} {ratio}" for task, ratio in PUBLISHED.items())
                + "."
            ),
            markdown_table([*header, "return", "S/T", "(S-J_0)/(T-J_0)", "better", "met"], rows),
            *_profiles(every, taught, random, figures / "compression.svg"),
            settings_note(every),
        ]
    )


def _met(task: str, arm: str, group: Sequence[Result], teachers: Sequence[Result]) -> str:
    """Whether an arm at the first size has what is wanted of the best one."""
    found = paired_ratio(group, teachers)
    name, size = arm.split(" ")
    if found is None or name not in ARMS or size != "-".join(map(str, FIRST)):
        return ""
    whole = found.low >= LOWER and found.high >= PUBLISHED[task]
    met = shown_by_interval(found.value >= MIDDLE, whole, group, SEEDS, teachers)
    return verdict(False, group, SEEDS) if met == "not shown" else met  # both ends are wanted


def _plain(arm: str) -> str:
    """The arm of the same network that others are held against."""
    return f"student-driven {arm.split(' ')[1]}"


def _profiles(
    every: Sequence[Result], taught: Sequence[Result], random: dict[str, float], path: Path
) -> list[str]:
    """Performance profiles of the first size's arms that have the same seeds in every task."""
    by_task = {(r.task, r.seed): r.mean_return for r in taught}
    size, scores = "-".join(map(str, FIRST)), {}
    for arm in (*ARMS, "ppo", "ppo-all"):
        groups = [
            {r.seed: r.mean_return for r in _group(every, task, f"{arm} {size}")} for task in TASKS
        ]
        taught_in = [{seed for name, seed in by_task if name == task} for task in TASKS]
        both = sorted(set.intersection(*map(set, groups), *taught_in))
        if both and all(task in random for task in TASKS):
            columns = [
                normalised_ratio(
                    np.array([group[seed] for seed in both]),
                    np.array([by_task[task, seed] for seed in both]),
                    random[task],
                )
                for task, group in zip(TASKS, groups, strict=True)
            ]
            scores[arm] = np.stack(columns, axis=1)
    if not scores:
        return []
    at = np.linspace(0.6, 1.05, 1801)
    above = {arm: int((values > at[-1]).sum()) for arm, values in scores.items()}
    far = ", ".join(f"{count} of `{arm}`" for arm, count in above.items() if count)
    beyond = f" (beyond: {far})" if far else ""
    image = plot_profiles(scores, at, path, "(S - J_0) / (T - J_0) at 128-64", near=(0.97, 1.01))
    return [
        paragraph(
            f"Share of runs of both tasks above each score, from {at[0]:g} to {at[-1]:g}{beyond} "
            "and near 1; shaded: 95 %."
        ),
        f"![Share of runs above each score]({image})",
    ]
