"""Curriculum: gated by competence, two published ones, a fixed schedule, and none, at equal steps.

The gated one also without its replay of earlier levels, for the table of forgetting.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from retort.distill.curriculum import CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.evaluation import actor_of
from retort.distill.evaluation.forgetting import load_snapshots, measure_forgetting, snapshot_actors
from retort.distill.ppo_settings import gymnasium_ppo
from retort.distill.students import StudentConfig
from retort.distill.terms import TermConfig
from retort.launch.recipe import load_recipe
from retort.sim.gymnasium_tasks import Difficulty

from ..report import (
    COSTS,
    cost_cells,
    interval_over_seeds,
    markdown_table,
    of_common_seeds,
    paragraph,
    ratio_over_seeds,
    settings_note,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..varied import Learnt, Varied, distil_varied, gymnasium_env, load_teacher, robot_env, teach

TABLE = "curriculum"
SEEDS = (1, 2, 3)
TEACHER, GATED, BARE = "teacher", "gated", "gated without replay"
_RECIPE = load_recipe("balancer")
_CURRICULUM = _RECIPE.curriculum  # the shipped one, which is gated
LEVELS, START = _CURRICULUM.levels, _CURRICULUM.start
_SOUGHT = "{:g} to {:g}".format(*_CURRICULUM.traversable)
ARMS: dict[str, CurriculumConfig] = {
    GATED: _CURRICULUM,
    "promoted": dataclasses.replace(_CURRICULUM, kind="promoted"),
    "particles": dataclasses.replace(_CURRICULUM, kind="particles"),
    "fixed": CurriculumConfig(kind="fixed", levels=LEVELS, start=_CURRICULUM.start),
    "none": CurriculumConfig(kind="none", levels=LEVELS),
    BARE: dataclasses.replace(_CURRICULUM, replay=0.0),
}
_EPISODES = 50  # of a cell of the forgetting matrix
_SEED = 3_000_003  # of these episodes

VARIED: dict[str, Varied] = {
    "balancer": Varied(
        name="balancer",
        make_env=robot_env("balancer"),
        teacher=_RECIPE.teacher,
        distill=_RECIPE.distill,
        seconds=_RECIPE.evaluation.seconds,
    ),
    "HalfCheetah": Varied(
        name="HalfCheetah",
        make_env=gymnasium_env("HalfCheetah", Difficulty()),
        teacher=gymnasium_ppo("HalfCheetah", "fast", hidden=(128, 128), critic_hidden=(128, 128)),
        distill=DistillConfig(
            terms=(TermConfig(name="policy_kl"),),
            num_envs=64,
            ticks=64,
            episode_seconds=5.0,
            epochs=4,
            minibatches=8,
            learning_rate=1e-3,
            final_learning_rate=1e-4,
            fall_penalty=0.0,
        ),
        seconds=10.0,
    ),
}
STUDENTS: dict[str, StudentConfig] = {
    "balancer": _RECIPE.student,
    "HalfCheetah": StudentConfig(hidden=(64, 64), activation="tanh"),
}
TEACHER_STEPS = {"balancer": _RECIPE.teacher.steps, "HalfCheetah": 1_000_000}
STEPS = {"balancer": 1_000_000, "HalfCheetah": 500_000}


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Seed by seed a teacher, and students by every arm."""
    every: list[Run] = []
    for seed in seeds:
        for task in VARIED:
            teacher = Run(
                table=TABLE,
                task=task,
                arm=TEACHER,
                seed=seed,
                budget=TEACHER_STEPS[task],
                execute=_teach,
                keeps=True,
            )
            every.append(teacher)
            every += [
                Run(
                    table=TABLE,
                    task=task,
                    arm=arm,
                    seed=seed,
                    budget=STEPS[task],
                    execute=_distil,
                    needs=(teacher,),
                )
                for arm in ARMS
            ]
    return every


def _teach(run: Run, place: Place, log: Log) -> Made:
    return teach(VARIED[run.task], run, place, log)


def _distil(run: Run, place: Place, log: Log) -> Made:
    varied, [needed] = VARIED[run.task], run.needs
    with tempfile.TemporaryDirectory() as folder:
        made = distil_varied(
            varied,
            load_teacher(varied, place, needed),
            STUDENTS[run.task],
            ARMS[run.arm],
            seed=run.seed,
            steps=place.steps(run.budget),
            log=log,
            snapshots=Path(folder),
        )
        series = _forgetting(varied, made, Path(folder))
    final = varied.final_returns(actor_of(made.student))
    return Made(made.settings, made.curve.points, final, made.figures, series)


def _forgetting(varied: Varied, made: Learnt, folder: Path) -> dict[str, list[float]]:
    """The matrix: scores of every snapshot, and of the student at the end, a list per level."""
    snapshots = load_snapshots(folder)
    if not snapshots:  # nothing was left behind that could be forgotten
        return {}
    levels = [level / LEVELS for level in range(LEVELS + 1)]
    env = varied.make_held_out(_EPISODES * len(levels))
    actors = snapshot_actors(snapshots, made.student, int(made.figures["steps"]))
    found = measure_forgetting(env, actors, levels, _SEED)
    series = {"steps": [float(stand.steps) for stand in found.stands]}
    for level, scores in zip(found.levels, found.matrix.T, strict=True):
        series[f"level {level:g}"] = np.round(scores, 4).tolist()
    return series


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = [result for result in read_results(results, TABLE) if result.arm != BARE]
    if not every:
        return ""
    rows: list[list[Any]] = []
    for task in VARIED:
        teachers = [r for r in every if (r.task, r.arm) == (task, TEACHER)]
        for arm in (TEACHER, *ARMS):
            group = [r for r in every if (r.task, r.arm) == (task, arm)]
            if not group:
                continue
            taught = [] if arm == TEACHER else teachers
            rows.append(
                [
                    task,
                    arm,
                    *cost_cells(group),
                    _frontier(group),
                    interval_over_seeds(group),
                    ratio_over_seeds(group, taught),
                ]
            )
    header = ["task", "curriculum", *COSTS, "level reached"]
    header += ["return at the hardest level", "S/T"]
    return "\n\n".join(
        [
            "## Curriculum",
            paragraph(
                "Students of one teacher each, which sees what the simulation knows, at equal "
                f"steps: all but `none` begin at level {START}; `gated` moves an axis on when the "
                f"student confidently earns {_CURRICULUM.bar:g} of what its teacher does there "
                "(both above a random policy, whose episodes, at most 64 a level, are not among "
                "the steps), `promoted` gives "
                "every environment a level of its own, which its last episode moves (Rudin 2022), "
                f"`particles` seeks levels at which the student comes to {_SOUGHT} of its teacher "
                "(Lee 2020), `fixed` moves all axes evenly over the budget, `none` is at the "
                "hardest level from the start. "
                "The balancer is the shipped recipe with fewer steps of distillation; HalfCheetah "
                "has randomised mass, friction and motors, noise, latency and pushes at once. "
                "Return of 50 held-out deterministic episodes of 10 s at the hardest level of "
                "every axis after the last update; S/T is paired by seed. "
                f"Level reached: mean over axes, of {LEVELS}."
            ),
            markdown_table(header, rows),
            paragraph(f"Highest at the hardest level: {'; '.join(_highest(every))}."),
            settings_note(every),
        ]
    )


def _highest(every: list[Result]) -> list[str]:
    """By task the curriculum with the highest mean over the seeds that all have, and where that
    leaves the gated one.
    """
    said = []
    for task in VARIED:
        groups = {a: [r for r in every if (r.task, r.arm) == (task, a)] for a in ARMS}
        groups = {arm: group for arm, group in groups.items() if group}
        if not groups:
            continue
        common = of_common_seeds(*groups.values())
        means = {
            arm: float(np.mean([r.mean_return for r in group]))
            for arm, group in zip(groups, common, strict=True)
            if group
        }
        if not means:
            continue
        best = max(means, key=lambda arm: means[arm])
        text = f"{task}, `{best}` with {means[best]:.0f}"
        if best != GATED and GATED in means:
            text += f", where `{GATED}` comes to {means[GATED]:.0f}"
        said.append(text)
    return said


def _frontier(group: list[Any]) -> str:
    values = [v for r in group for name, v in r.figures.items() if name.startswith("level of ")]
    return f"{np.mean(values):.1f}" if values else ""
