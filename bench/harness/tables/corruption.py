"""Corrupted teachers (D): what a student makes of a teacher whose weights are noisy.

After Spigler 2025, where on Atari noise of 0.05 leaves a teacher 0.34 of its return, student-driven
distillation 0.46 and the proximal method 0.64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from retort.distill.evaluation import actor_of
from retort.distill.students import StudentConfig
from retort.distill.teachers import ActorTeacher
from retort.distill.teachers.corruption import corrupted_teacher

from ..claims import Claim
from ..distilling import ARMS, distil_arm, first_std, let_go
from ..report import (
    COSTS,
    cost_cells,
    interval_over_seeds,
    markdown_table,
    of_common_seeds,
    paired_difference,
    paired_ratio,
    paragraph,
    ratio_over_seeds,
    settings_note,
    shown_by_interval,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..teaching import TABLE as TEACHERS
from ..teaching import load_teacher, teacher_run
from ..training import final_returns
from . import compression

TABLE = "corruption"
SEEDS = (1, 2, 3)
TASKS = ("HalfCheetah", "Hopper")
STEPS = 500_000
SIGMAS = (0.05, 0.04)  # as published, and milder
WANTED = 0.64  # of the clean teacher
_TEACHER = "corrupted teacher"
_LET_GO = "ours let go"
_OURS = ("ours", _LET_GO)
_ARMS = ("student-driven", "proximal", *_OURS)
_PPO, _NOBODY = "ppo 128-64", "no teacher (PPO)"


def student_config(name: str, task: str) -> StudentConfig:
    """128-64; one that is to find its own way begins as unsure as PPO."""
    config = StudentConfig(hidden=(128, 64), activation="tanh")
    return dataclasses.replace(config, initial_std=first_std(task)) if name == _LET_GO else config


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """The damaged teacher and each arm, seed by seed."""
    return [
        Run(
            table=TABLE,
            task=task,
            arm=f"{name} {sigma}",
            seed=seed,
            budget=STEPS,
            execute=_evaluate if name == _TEACHER else _distil,
            needs=(teacher_run(task, seed),),
        )
        for seed in seeds
        for sigma in SIGMAS
        for task in TASKS
        for name in (_TEACHER, *_ARMS)
    ]


def _corrupted(run: Run, place: Place) -> ActorTeacher:
    """The same damage in every arm of a seed."""
    [needed] = run.needs
    sigma = float(run.arm.split(" ")[-1])
    generator = torch.Generator().manual_seed(run.seed)
    return corrupted_teacher(load_teacher(place, needed), generator, sigma)


def _evaluate(run: Run, place: Place, log: Log) -> Made:
    teacher = _corrupted(run, place)
    final = final_returns(run.task, actor_of(teacher.actor))
    return Made({}, [], final, {"parameters": teacher.actor.parameter_count()})


def _distil(run: Run, place: Place, log: Log) -> Made:
    name = run.arm.rsplit(" ", 1)[0]
    made = distil_arm(
        let_go(first_std(run.task)) if name == _LET_GO else ARMS[name],
        run.task,
        [_corrupted(run, place)],
        student_config(name, run.task),
        seed=run.seed,
        steps=place.steps(run.budget),
        log=log,
    )
    return Made(made.settings, made.curve.points, made.final, made.figures)


def claims(results: Path) -> list[Claim]:
    """Of the arm for teachers that cannot be copied, at every damage."""
    every, taught = read_results(results, TABLE), read_results(results, TEACHERS)
    made = []
    for sigma in SIGMAS:
        for task in TASKS:
            here = [result for result in every if result.task == task]
            teachers = [result for result in taught if result.task == task]
            names = (_LET_GO, "student-driven", _TEACHER)
            ours, driven, damaged = (
                [r for r in here if r.arm == f"{name} {sigma}"] for name in names
            )
            if not (met := _met(ours, driven, teachers)):
                continue
            beside = {
                "student-driven": driven,
                "the teacher itself": damaged,
                "PPO without any": _alone(results, task),
            }
            beside = {name: group for name, group in beside.items() if group}
            [shown, _] = of_common_seeds(ours, driven)
            others = "; ".join(
                f"{name} {ratio_over_seeds(group, teachers)}{_others_than(shown, group)}"
                for name, group in beside.items()
            )
            made.append(
                Claim(
                    what=f"{task}, sigma {sigma}",
                    wanted=f"{WANTED} of the clean teacher, above student-driven",
                    found=f"{ratio_over_seeds(shown, teachers)}; {others}",
                    met=met,
                    why=_why(ours, damaged, _alone(results, task), teachers),
                )
            )
    return made


def _others_than(shown: Sequence[Result], group: Sequence[Result]) -> str:
    """Which seeds these are, where they are not those that are judged."""
    seeds, judged = (sorted(r.seed for r in some) for some in (group, shown))
    if seeds == judged:
        return ""
    return f" (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))})"


def _why(
    ours: Sequence[Result],
    damaged: Sequence[Result],
    alone: Sequence[Result],
    teachers: Sequence[Result],
) -> str:
    """What there was to be had on the seed on which least was made of it."""
    common = of_common_seeds(ours, damaged, alone, teachers)
    if not common[0]:
        return ""
    made, left, without, whole = ({r.seed: r.mean_return for r in group} for group in common)
    seed = min(made, key=lambda seed: made[seed] / whole[seed])
    return (
        f"on seed {seed} a teacher with {left[seed] / whole[seed]:.2f} of its return left made a "
        f"student of {made[seed] / whole[seed]:.2f}, and PPO of the same network and steps came to "
        f"{without[seed] / whole[seed]:.2f} without any: what was lost there was lost by listening "
        "to it, or is chance"
    )


def _alone(results: Path, task: str) -> list[Result]:
    """PPO of the same network and steps, which has no teacher: runs of the compression table."""
    own = read_results(results, compression.TABLE)
    return [dataclasses.replace(r, arm=_NOBODY) for r in own if (r.task, r.arm) == (task, _PPO)]


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    rows = []
    taught = read_results(results, TEACHERS)
    for task in TASKS:
        here = [result for result in every if result.task == task]
        teachers = [result for result in taught if result.task == task]
        for sigma in SIGMAS:
            driven = [r for r in here if r.arm == f"student-driven {sigma}"]
            for name in (_TEACHER, *_ARMS):
                group = [r for r in here if r.arm == f"{name} {sigma}"]
                if group:
                    met = _met(group, driven, teachers) if name in _OURS else ""
                    rows.append(
                        [
                            task,
                            sigma,
                            name,
                            *cost_cells(group),
                            interval_over_seeds(group),
                            ratio_over_seeds(group, teachers),
                            met,
                        ]
                    )
        if alone := _alone(results, task):
            row = [*cost_cells(alone), interval_over_seeds(alone)]
            rows.append([task, "", _NOBODY, *row, ratio_over_seeds(alone, teachers), ""])
    header = ["task", "sigma", "arm", *COSTS, "return", "of the clean teacher", "met"]
    return "\n\n".join(
        [
            "## Corrupted teacher",
            paragraph(_WHAT),
            markdown_table(header, rows),
            settings_note(every),
        ]
    )


_WHAT = (
    "Normal noise of deviation sigma is added to every weight and bias of a shared teacher of "
    "256-256, its critic aside; students of 128-64 learn from what is left. All is relative to "
    "the clean teacher's return, by seed. Published for Atari at 0.05 (Spigler 2025): teacher "
    f"0.34, student-driven 0.46, proximal 0.64. Wanted of ours: at least {WANTED}, and more than "
    "student-driven distillation, on the seeds that both have: yes if that holds of the whole "
    "interval and of that of the differences by seed (both learn from the same damaged teacher), "
    "not shown if only of the middles. `ours let go` has the student's own "
    "reward from the start, no KL after 30 % of its steps, and a teacher that may not claim to be "
    "surer than PPO is at first (a student as sure as its teacher tries nothing else once it is "
    "let go of). The teacher's own row says what the noise leaves of it. Where that is next to "
    "nothing, there is next to nothing to distil, and a student is what its own reward makes of "
    "it in these steps. 0.04, meant to leave about what was published, leaves hardly more than "
    "0.05 does."
)


def _met(group: Sequence[Result], driven: Sequence[Result], teachers: Sequence[Result]) -> str:
    """Whether the middles are as wanted and, if so, whether the intervals leave a doubt."""
    both = of_common_seeds(group, driven)
    ours, plain = (paired_ratio(each, teachers) for each in both)
    above = paired_difference(*both)
    if ours is None or plain is None or above is None:
        return ""
    middle = ours.value >= WANTED and above.value > 0.0
    whole = ours.low >= WANTED and above.low > 0.0
    return shown_by_interval(middle, whole, group, SEEDS, driven)
