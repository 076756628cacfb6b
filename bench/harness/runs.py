"""A benchmark is a list of runs; a run whose file exists is done. Nothing else is remembered.

Runs that others need leave a checkpoint under ``runs/bench``, which is not part of the results:
where it is missing, the run it comes from is done again.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .results import Point, Result, commit, machine, today, versions, write_result

Log = Callable[[str], None]
_LEAST = 6_000


class Made(NamedTuple):
    """What executing a run gives."""

    settings: dict[str, Any]
    curve: list[Point]
    final: list[float]
    figures: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where results and checkpoints are, and which part of every budget is spent."""

    results: Path
    checkpoints: Path
    scale: float = 1.0

    def steps(self, budget: int) -> int:
        """The budget of environment steps to be spent: some iterations at least."""
        return max(min(budget, _LEAST), round(budget * self.scale))

    def checkpoint(self, run: Run) -> Path:
        """What ``run`` leaves for those that need it."""
        return self.checkpoints / run.table / f"{run.name}.safetensors"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One entry of a benchmark's list."""

    table: str
    task: str
    arm: str
    seed: int
    budget: int  # environment steps
    execute: Callable[[Run, Place, Log], Made]
    needs: tuple[Run, ...] = ()  # whose checkpoints it reads
    keeps: bool = False  # it leaves a checkpoint
    package: str | None = None  # it cannot run without

    @property
    def name(self) -> str:
        """Unique within the table, and the file's."""
        return f"{self.task}_{self.arm}_s{self.seed}".replace(" ", "-")

    def done(self, place: Place) -> bool:
        """Its result is there."""
        return (place.results / self.table / f"{self.name}.json").exists()

    @property
    def missing_package(self) -> str | None:
        """What must be installed before it can run."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return self.package
        return None


def select(runs: Iterable[Run], words: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """Runs whose ``table/name`` has every word in it, with one of ``seeds``; all where empty."""
    return [
        run
        for run in runs
        if all(word in f"{run.table}/{run.name}" for word in words)
        and (not seeds or run.seed in seeds)
    ]


def go_on(runs: Iterable[Run], place: Place, log: Log, minutes: float = float("inf")) -> int:
    """Do the runs that are not done, one after the other, until the time is over.

    A run that has begun is finished; one that fails ends the command, with all before it on disk.

    Returns:
        How many were done.
    """
    began, count = time.monotonic(), 0
    for run in runs:
        if run.done(place):
            continue
        if run.missing_package:
            log(f"{run.table}/{run.name}: left out, install {run.missing_package} (extra bench)")
            continue
        for needed in run.needs:
            if not place.checkpoint(needed).exists():
                count += _do(needed, place, log)
        if time.monotonic() - began > 60.0 * minutes:
            log("time is over; the same command goes on from here")
            return count
        count += _do(run, place, log)
    return count


def _do(run: Run, place: Place, log: Log) -> int:
    where = machine()
    log(f"{run.table}/{run.name}: {place.steps(run.budget)} steps")
    made = run.execute(run, place, lambda text: log(f"    {text}"))
    result = Result(
        table=run.table,
        task=run.task,
        arm=run.arm,
        seed=run.seed,
        budget=place.steps(run.budget),
        machine=where,
        versions=versions(),
        commit=commit(),
        date=today(),
        **made._asdict(),
    )
    path = write_result(place.results, run.name, result)
    log(f"    return {result.mean_return:.0f} over {len(result.final)} held-out episodes: {path}")
    return 1
