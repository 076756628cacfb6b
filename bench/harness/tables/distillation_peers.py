"""Distillation against its peer: rsl_rl's, beside ours, from the same teachers in the same run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from retort.distill.students import StudentConfig

from ..distilling import ARMS, distil_arm
from ..peers import rsl_rl
from ..report import (
    COSTS,
    cost_cells,
    markdown_table,
    paragraph,
    plot_curves,
    ratio_over_seeds,
    settings_note,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..teaching import TABLE as TEACHERS
from ..teaching import load_teacher, teacher_run
from ..training import Task

TABLE = "distillation-peers"
SEEDS = (1, 2, 3)
TASKS = ("HalfCheetah", "Hopper")
STEPS = 500_000
HIDDEN = (128, 64)
OURS = ("ours", "dagger", "behaviour-cloning")
_STEPS_PER_POINT = 20_000  # on a curve


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Seed by seed and task by task, all arms one after the other."""
    return [
        Run(
            table=TABLE,
            task=task,
            arm=arm,
            seed=seed,
            budget=STEPS,
            execute=_ours if arm in OURS else _theirs,
            needs=(teacher_run(task, seed),),
            package=None if arm in OURS else rsl_rl.PACKAGE,
        )
        for seed in seeds
        for task in TASKS
        for arm in (*OURS, *rsl_rl.DISTILLATION)
    ]


def _ours(run: Run, place: Place, log: Log) -> Made:
    made = distil_arm(
        ARMS[run.arm],
        run.task,
        [load_teacher(place, run.needs[0])],
        StudentConfig(hidden=HIDDEN, activation="tanh"),
        seed=run.seed,
        steps=place.steps(run.budget),
        log=log,
        every=_STEPS_PER_POINT,
    )
    return Made(made.settings, made.curve.points, made.final, made.figures)


def _theirs(run: Run, place: Place, log: Log) -> Made:
    steps = place.steps(run.budget)
    task = Task(name=run.task, seed=run.seed, steps=steps, every=_STEPS_PER_POINT)
    return rsl_rl.distil(task, run.arm, load_teacher(place, run.needs[0]), HIDDEN, log)


def report(results: Path, figures: Path) -> str:
    """The section of the documentation, and its figure."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    taught = read_results(results, TEACHERS)
    image = plot_curves(every, figures / "distillation-peers.svg")
    header = ["task", "arm", *COSTS, "S/T", "seconds over ours"]
    return "\n\n".join(
        [
            "## Distillation beside rsl_rl",
            paragraph(
                "Students of 128-64 from the same teachers, each arm right after the other on the "
                "same machine. `rsl_rl` is its `DistillationRunner` on our environments with our "
                "teacher's network where it keeps its own, behind the teacher's normaliser as our "
                "students are: with the settings Isaac Lab publishes for ANYmal-D, but for as few "
                "environments as ours, which leaves it a tenth of the updates that ours make of "
                "these steps, and with our rollouts, passes and learning rate. Its student acts "
                "with noise of 0.1 and regresses on the teacher's mean; `dagger` does so with "
                f"noise of {StudentConfig().initial_std:g}. `dagger` and `behaviour-cloning` are "
                "ours: `imitation`, which has them, cannot be installed beside Gymnasium 1. S/T, "
                "the return of 50 held-out deterministic episodes over the teacher's, and seconds "
                "over those of `ours` are paired by seed."
            ),
            markdown_table(header, _rows(every, taught)),
            paragraph("A line per run; the seconds of `behaviour-cloning` begin with recording."),
            f"![Return against environment steps and seconds]({image})",
            settings_note(every),
        ]
    )


def _rows(every: list[Result], taught: list[Result]) -> list[list[object]]:
    rows = []
    for task in TASKS:
        teachers = [result for result in taught if result.task == task]
        ours = {r.seed: r for r in every if (r.task, r.arm) == (task, "ours")}
        for arm in (*OURS, *rsl_rl.DISTILLATION):
            group = [r for r in every if (r.task, r.arm) == (task, arm)]
            if not group:
                continue
            pairs = [
                r.figures["seconds"] / ours[r.seed].figures["seconds"]
                for r in group
                if r.seed in ours
            ]
            rows.append(
                [
                    task,
                    arm,
                    *cost_cells(group),
                    ratio_over_seeds(group, teachers),
                    f"{np.median(pairs):.2f}" if pairs else "",
                ]
            )
    return rows
