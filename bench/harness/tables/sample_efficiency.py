"""Sample efficiency: steps to 95 % of the teacher, distilled and from scratch at the same size.

It reads the curves of the compression table and has no runs of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from retort.distill.evaluation.statistics import Reach, steps_to_reach, summarise_reach

from ..claims import Claim
from ..report import markdown_table, paragraph, settings_note, verdict
from ..results import Result, read_results
from ..runs import Run
from ..teaching import STEPS as TEACHER_STEPS
from ..teaching import TABLE as TEACHERS
from . import compression

TABLE = "sample-efficiency"
SEEDS = compression.SEEDS
SHARE = 0.95  # of the teacher's return
LEAST = 10.0  # times fewer steps
_PASSES = 2  # successive points that must reach it


def runs() -> list[Run]:
    """None: the compression table's are enough."""
    return []


def claims(results: Path) -> list[Claim]:
    """At the first size."""
    return [
        Claim(
            what=f"{task}, {size}, times fewer steps by `{arm}`",
            wanted=f"{LEAST:g}",
            found=times or "never there",
            met=met,
        )
        for task, arm, size, _, _, _, times, met in _rows(results)[0]
        if size == "-".join(map(str, compression.FIRST))
    ]


def _rows(results: Path) -> tuple[list[list[Any]], list[Result]]:
    """Rows of the table, and the results they are made of."""
    taught = read_results(results, TEACHERS)
    every = read_results(results, compression.TABLE)
    rows: list[list[Any]] = []
    used: list[Result] = []
    for task in compression.TASKS:
        targets = {r.seed: SHARE * r.mean_return for r in taught if r.task == task}
        for size in ("-".join(map(str, s)) for s in (compression.FIRST, *compression.SMALLER)):
            scratch = _group(every, task, f"ppo-all {size}", targets)
            for arm in compression.BEST:
                group = _group(every, task, f"{arm} {size}", targets)
                both = {r.seed for r in group} & {r.seed for r in scratch}
                if not both:
                    continue
                ours, theirs = ([r for r in g if r.seed in both] for g in (group, scratch))
                used += [*ours, *theirs]
                rows.append([task, arm, size, len(both), *_cells(ours, theirs, targets)])
    return rows, used


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    rows, used = _rows(results)
    if not rows:
        return ""
    header = ["task", "arm", "student", "seeds", "student's steps", "PPO's steps", "times fewer"]
    return "\n\n".join(
        [
            "## Sample efficiency",
            paragraph(
                f"Environment steps to {SHARE:.0%} of the teacher's return, by two successive "
                "points of 20 deterministic episodes: the student's, and those of PPO from "
                "scratch with the same network, which was given the teacher's steps and the "
                "student's together. Medians over seeds; a run that did not get there counts as "
                "longer than its budget. The teacher's own "
                f"{TEACHER_STEPS / 1e6:g} M steps come once per teacher and are not among them. "
                f"Wanted: at least {LEAST:g} times fewer."
            ),
            markdown_table([*header, "met"], rows),
            settings_note(used),
        ]
    )


def _group(every: Sequence[Result], task: str, arm: str, targets: dict[int, float]) -> list[Result]:
    return [r for r in every if (r.task, r.arm) == (task, arm) and r.seed in targets]


def _cells(
    ours: Sequence[Result], theirs: Sequence[Result], targets: dict[int, float]
) -> list[str]:
    mine, other = _reach(ours, targets), _reach(theirs, targets)
    text = [_steps(mine, ours), _steps(other, theirs)]
    if not np.isfinite(mine.median):
        return [*text, "", verdict(False, ours, SEEDS, theirs)]
    censored = not np.isfinite(other.median)
    least = min(r.budget for r in theirs) if censored else other.median
    times = least / mine.median
    met = verdict(times >= LEAST, ours, SEEDS, theirs)
    met = "not shown" if censored and times < LEAST else met
    return [*text, f"{'more than ' if censored else ''}{times:.1f}", met]


def _reach(group: Sequence[Result], targets: dict[int, float]) -> Reach:
    times = [
        steps_to_reach(
            np.array([point.steps for point in result.curve]),
            np.array([point.mean_return for point in result.curve]),
            targets[result.seed],
            passes=_PASSES,
        )
        for result in group
    ]
    ends = [max(float(r.budget), float(r.curve[-1].steps)) for r in group]
    return summarise_reach(np.array(times), np.array(ends), np.random.default_rng(0))


def _steps(reach: Reach, group: Sequence[Result]) -> str:
    missed = "" if reach.reached == reach.runs else f" ({reach.reached} of {reach.runs})"
    if not np.isfinite(reach.median):
        return f"more than {min(r.budget for r in group):,}".replace(",", " ") + missed
    return f"{reach.median:,.0f}".replace(",", " ") + missed
