"""Several teachers of one task: fixed weights, weights by value and a gate, against the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from retort.distill.evaluation import actor_of
from retort.distill.evaluation.statistics import Interval
from retort.distill.students import StudentConfig
from retort.distill.teachers import ActorTeacher
from retort.distill.teachers.mixture import MixtureConfig

from ..distilling import ARMS, distil_arm
from ..report import (
    COSTS,
    cost_cells,
    interval_over_seeds,
    markdown_table,
    paired_ratio,
    paragraph,
    ratio_over_seeds,
    settings_note,
    shown_by_interval,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..teaching import TABLE as TEACHERS
from ..teaching import load_teacher, teacher_run, three_teachers
from ..training import curve_return
from . import compression

TABLE = "several_teachers"
SEEDS = (1, 2, 3)
TASKS = ("HalfCheetah", "Hopper")
STEPS = 500_000
TEMPERATURE = 0.1  # of weights by value, which are of the order of a tick's reward
_OWN, _BEST = "own", "best single"
_COMPRESSED = "ours 128-64"  # in the table of compression: the student of each seed's own teacher
_OTHERS = ("second", "third")  # teachers beside the first; they are given, not looked up
_MIXTURES: dict[str, MixtureConfig] = {
    "equal weights": MixtureConfig(others=_OTHERS),
    "weights by value": MixtureConfig(others=_OTHERS, weighting="value", temperature=TEMPERATURE),
    "equal weights gated": MixtureConfig(others=_OTHERS, gated=True),
}


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Every way to use the three teachers, seed by seed."""
    return [
        Run(
            table=TABLE,
            task=task,
            arm=arm,
            seed=seed,
            budget=STEPS,
            execute=_distil,
            needs=tuple(teacher_run(task, other) for other in three_teachers(seed)),
        )
        for seed in seeds
        for task in TASKS
        for arm in (_BEST, *_MIXTURES)
    ]


def _distil(run: Run, place: Place, log: Log) -> Made:
    teachers = [load_teacher(place, needed) for needed in run.needs]
    if run.arm == _BEST:
        teachers = [_best(run.task, teachers)]
    changes = {"teachers": _MIXTURES[run.arm]} if run.arm in _MIXTURES else {}
    made = distil_arm(
        dataclasses.replace(ARMS["ours"], changes=changes),
        run.task,
        teachers,
        StudentConfig(hidden=(128, 64), activation="tanh"),
        seed=run.seed,
        steps=place.steps(run.budget),
        log=log,
    )
    return Made(made.settings, made.curve.points, made.final, made.figures)


def _best(task: str, teachers: Sequence[ActorTeacher]) -> ActorTeacher:
    """By episodes that are not the held-out ones."""
    return max(teachers, key=lambda teacher: curve_return(task, actor_of(teacher.actor)))


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    rows = []
    taught = read_results(results, TEACHERS)
    own = [r for r in read_results(results, compression.TABLE) if r.arm == _COMPRESSED]
    every = [*(dataclasses.replace(r, arm=_OWN) for r in own if r.task in TASKS), *every]
    for task in TASKS:
        here = [result for result in every if result.task == task]
        teachers = [result for result in taught if result.task == task]
        returns = {teacher.seed: teacher.mean_return for teacher in teachers}
        single = [result for result in here if result.arm == _BEST]
        for arm in dict.fromkeys(result.arm for result in here):
            group = [result for result in here if result.arm == arm]
            found = paired_ratio(group, single) if arm in _MIXTURES else None
            rows.append(
                [
                    task,
                    arm,
                    *cost_cells(group),
                    interval_over_seeds(group),
                    _to_best(group, returns),
                    ratio_over_seeds(group, single) if arm in _MIXTURES else "",
                    "" if found is None else _better(found, group, single),
                ]
            )
    header = ["task", "taught by", *COSTS, "return"]
    header += ["to the best teacher", "to `best single`", "better"]
    return "\n\n".join(
        [
            "## Several teachers of one task",
            paragraph(_WHAT),
            markdown_table(header, rows),
            settings_note(every),
        ]
    )


_WHAT = (
    "Students of 128-64 by `ours`, from three shared teachers of their task (those of seeds 1 to "
    "3; from seed 4 on a seed's own and the two before it): each seed's own (a row of compression "
    "too), the best of the three by 20 episodes that are not the held-out ones, and all of them at "
    f"once, with equal fixed weights, with weights by value (temperature {TEMPERATURE}), and with "
    "equal weights behind a gate that closes on teachers expecting less than the student. The "
    "first three seeds differ in the student alone: all have the same three teachers, of which "
    "one is the best, and what is said of them is said of these three. Better "
    "means that the whole interval of paired ratios to a student of the best single one is above "
    "1, not shown that its middle alone is. Teachers trained from different seeds move "
    "differently: what lies between them need not be a gait."
)


def _better(found: Interval, group: Sequence[Result], single: Sequence[Result]) -> str:
    return shown_by_interval(found.value > 1.0, found.low > 1.0, group, SEEDS, single)


def _to_best(group: Sequence[Result], teachers: Mapping[int, float]) -> str:
    """Mean ratio of returns to the best of each seed's three teachers, whose returns are known."""
    ratios = [
        result.mean_return / max(teachers[seed] for seed in three)
        for result in group
        if teachers.keys() >= set(three := three_teachers(result.seed))
    ]
    return f"{sum(ratios) / len(ratios):.3f}" if ratios else ""
