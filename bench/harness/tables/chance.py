"""Random actions: J_0, which returns are counted from where they are compared across tasks.

It has no section of its own; the tables that need it read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..results import read_results
from ..runs import Log, Made, Place, Run
from ..training import random_returns

TABLE = "random"
SEEDS = (1,)  # of the actions; the episodes are the held-out ones
TASKS = ("HalfCheetah", "Hopper", "Walker2d")


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """One of each task, whatever the seeds."""
    return [
        Run(table=TABLE, task=task, arm="random", seed=seed, budget=0, execute=_act)
        for seed in SEEDS
        for task in TASKS
    ]


def _act(run: Run, place: Place, log: Log) -> Made:
    return Made({}, [], random_returns(run.task, run.seed), {})


def random_scores(results: Path) -> dict[str, float]:
    """J_0 by task, of those that are known."""
    return {result.task: result.mean_return for result in read_results(results, TABLE)}


def report(results: Path, figures: Path) -> str:
    """Nothing: the teachers' table and others have it."""
    return ""
