"""Teachers (B): how good those are that the other tables distil from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..report import (
    budgets_said,
    interval_over_seeds,
    markdown_table,
    mean_figure,
    paragraph,
    settings_note,
)
from ..results import read_results
from ..runs import Run
from ..teaching import TABLE, teacher_run
from .chance import random_scores

SEEDS = (1, 2, 3)
TASKS = ("HalfCheetah", "Hopper", "Walker2d")


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Seed by seed."""
    return [teacher_run(task, seed) for seed in seeds for task in TASKS]


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    rows, random = [], random_scores(results)
    for task in TASKS:
        group = [result for result in every if result.task == task]
        if group:
            row = [task, len(group), mean_figure(group, "parameters"), interval_over_seeds(group)]
            known = f"{random[task]:.0f}" if task in random else ""
            rows.append([*row, known, mean_figure(group, "cpu_seconds")])
    header = ["task", "seeds", "parameters", "return", "random actions", "CPU seconds"]
    return "\n\n".join(
        [
            "## Teachers",
            paragraph(
                "What the tables below distil from: actors of 256-256 after "
                f"{budgets_said(every)} steps of PPO with the settings `efficient`; return of 50 "
                "held-out deterministic episodes, and J_0, that of random actions in the same. "
                "Their weights stand in the folder of checkpoints beside the results."
            ),
            markdown_table(header, rows),
            settings_note(every),
        ]
    )
