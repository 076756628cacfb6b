"""Sample efficiency: steps to 95 % of the teacher, distilled and from scratch at the same size.

It reads the curves of the compression table and has no runs of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from retort.distill.evaluation.statistics import Reach, steps_to_reach, summarise_reach

from ..claims import Claim
from ..report import (
    budgets_said,
    markdown_table,
    of_common_seeds,
    paragraph,
    settings_note,
    verdict,
)
from ..results import Result, read_results
from ..runs import Run
from ..teaching import TABLE as TEACHERS
from . import compression

TABLE = "sample-efficiency"
SEEDS = compression.SEEDS
SHARE = 0.95  # of the teacher's return
LEAST = 10.0  # times fewer steps
_OURS = "ours"  # the arm that is judged; the other stands beside it
_PASSES = 2  # successive points that must reach it


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """None: the compression table's are enough."""
    return []


def claims(results: Path) -> list[Claim]:
    """At the first size, of the arm that is ours: one row of a task, whichever arm is quicker."""
    return [
        Claim(
            what=f"{task}, {size}, times fewer steps by `{arm}`",
            wanted=f"{LEAST:g}",
            found=f"{times or 'never there'} ({each})",
            met=met,
            why=f"on some seeds PPO by itself is quick: {each}" if times else "",
        )
        for task, arm, size, _, _, _, times, each, met in _rows(results)[0]
        if (arm, size) == (_OURS, "-".join(map(str, compression.FIRST)))
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
                ours, theirs = of_common_seeds(group, scratch)
                if not ours:
                    continue
                used += [*ours, *theirs]
                rows.append([task, arm, size, len(ours), *_cells(ours, theirs, targets)])
    return rows, used


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    rows, used = _rows(results)
    if not rows:
        return ""
    header = ["task", "arm", "student", "seeds", "student's steps", "PPO's steps", "times fewer"]
    header += ["by seed", "met"]
    return "\n\n".join(
        [
            "## Sample efficiency",
            paragraph(
                f"Environment steps to {SHARE:.0%} of the teacher's return, by two successive "
                "points of 20 deterministic episodes: the student's, and those of PPO from "
                "scratch with the same network, which was given the teacher's steps and the "
                "student's together. Medians over seeds, of two their mean, and the median of one "
                "over that of the other; by seed, the steps of either with the same target, since "
                "few seeds' medians hide much. A run that did not get there counts as "
                "longer than its budget. The teacher's own "
                f"{budgets_said(read_results(results, TEACHERS))} steps come once per teacher and "
                "are not among them. "
                f"Wanted: at least {LEAST:g} times fewer by both medians, of steps and of the "
                f"seeds' own ratios, at {'-'.join(map(str, compression.FIRST))} by `{_OURS}`."
            ),
            markdown_table(header, rows),
            settings_note(used),
        ]
    )


def _group(every: Sequence[Result], task: str, arm: str, targets: dict[int, float]) -> list[Result]:
    return [r for r in every if (r.task, r.arm) == (task, arm) and r.seed in targets]


def _cells(
    ours: Sequence[Result], theirs: Sequence[Result], targets: dict[int, float]
) -> list[str]:
    mine, other = _reach(ours, targets), _reach(theirs, targets)
    pairs = _pairs(ours, theirs, targets)
    text = [_steps(mine), _steps(other)]
    each = ", ".join(f"s{seed} {_said(pair)}" for seed, pair in pairs.items())
    if not np.isfinite(mine.median):
        return [*text, "", each, verdict(False, ours, SEEDS, theirs)]
    least = other.median if np.isfinite(other.median) else other.median_at_least
    times = _Times(least / mine.median, other.median / mine.median)
    middle = _Times(*(float(np.median(ends)) for ends in zip(*pairs.values(), strict=True)))
    met = verdict(min(times.low, middle.low) >= LEAST, ours, SEEDS, theirs)
    if min(times.low, middle.low) < LEAST <= min(times.high, middle.high):
        met = "not shown"
    return [*text, _said(times), each, met]


class _Times(NamedTuple):
    """How many times fewer steps at least and at most; infinite where PPO never got there."""

    low: float
    high: float


def _said(times: _Times) -> str:
    if times.high == 0.0:
        return "never there"
    return f"{times.low:.1f}" if np.isfinite(times.high) else f"more than {times.low:.1f}"


def _pairs(
    ours: Sequence[Result], theirs: Sequence[Result], targets: dict[int, float]
) -> dict[int, _Times]:
    """By seed; of a student that never got there none."""
    scratch, found = {result.seed: result for result in theirs}, {}
    for result in ours:
        alone, target = scratch[result.seed], targets[result.seed]
        mine, other = (_steps_of(run, target) for run in (result, alone))
        low = other if np.isfinite(other) else _end(alone)
        found[result.seed] = _Times(low / mine, other / mine) if np.isfinite(mine) else _Times(0, 0)
    return found


def _steps_of(result: Result, target: float) -> float:
    """After which a run was there to stay; infinite if it never was."""
    return steps_to_reach(
        np.array([point.steps for point in result.curve]),
        np.array([point.mean_return for point in result.curve]),
        target,
        passes=_PASSES,
    )


def _end(result: Result) -> float:
    """Steps that a run had."""
    return max(float(result.budget), float(result.curve[-1].steps))


def _reach(group: Sequence[Result], targets: dict[int, float]) -> Reach:
    times = [_steps_of(result, targets[result.seed]) for result in group]
    ends = [_end(result) for result in group]
    return summarise_reach(np.array(times), np.array(ends), np.random.default_rng(0))


def _steps(reach: Reach) -> str:
    missed = "" if reach.reached == reach.runs else f" ({reach.reached} of {reach.runs})"
    if not np.isfinite(reach.median):
        return f"more than {reach.median_at_least:,.0f}".replace(",", " ") + missed
    return f"{reach.median:,.0f}".replace(",", " ") + missed
