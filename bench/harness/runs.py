"""A benchmark is a list of runs; a run is done whose file exists, is of its budget, and was made
from the checkpoints that are there. Nothing else is remembered.

Runs that others need leave a checkpoint; where it is missing, or of another budget, they are done
again, and so is then what was made from the one before.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from retort.launch.files import BusyError, at_work
from retort.sim.definition import digest

from .results import (
    Point,
    Result,
    commit,
    machine,
    read_result,
    today,
    versions,
    write_result,
)

Log = Callable[[str], None]
_LEAST = 6_000


class Progress(NamedTuple):
    """What came of going on."""

    done: int
    failed: list[str]


class Made(NamedTuple):
    """What executing a run gives."""

    settings: dict[str, Any]
    curve: list[Point]
    final: list[float]
    figures: dict[str, float]
    series: Mapping[str, list[float]] = MappingProxyType({})


def suffix(scale: float) -> str:
    """Of the folders and pages of a scale, so that results of two never mix."""
    return "" if scale == 1.0 else f"-x{scale:g}"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where results and checkpoints are, and how many times every budget is spent."""

    results: Path
    checkpoints: Path
    working: Path  # holds a lock for every run that is being done
    scale: float = 1.0

    def steps(self, budget: int) -> int:
        """The budget of environment steps to be spent: some iterations at least."""
        return max(min(budget, _LEAST), round(budget * self.scale))

    @property
    def look(self) -> float:
        """Part of what a policy is looked at with: all of it, however much it has learnt."""
        return min(self.scale, 1.0)

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
        """Its result is there, of its budget, and none of the checkpoints that it was made from has
        been made anew since.
        """
        result = self._result(place)
        if result is None or result.budget != place.steps(self.budget):
            return False
        now = self.checkpoint_digests(place)
        return all(now.get(name, was) == was for name, was in result.checkpoints.items())

    def checkpoint_digests(self, place: Place) -> dict[str, str]:
        """Digests of the checkpoints that it needs, by ``table/name``, of those that are there."""
        paths = {f"{run.table}/{run.name}": place.checkpoint(run) for run in self.needs}
        return {name: digest(path) for name, path in paths.items() if path.exists()}

    def ready(self, place: Place) -> bool:
        """Its checkpoint is there, and no result says that it is of another budget."""
        known = self._result(place)
        if not place.checkpoint(self).exists():
            return False
        return known is None or known.budget == place.steps(self.budget)

    def _result(self, place: Place) -> Result | None:
        """Its result; None where there is none that can be read."""
        try:
            return read_result(place.results / self.table / f"{self.name}.json")
        except (FileNotFoundError, ValueError):
            return None

    @property
    def missing_package(self) -> str | None:
        """What must be installed before it can run."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return self.package
        return None


def select(runs: Iterable[Run], words: Sequence[str]) -> list[Run]:
    """Runs whose ``table/name`` has every word in it."""
    return [run for run in runs if all(word in f"{run.table}/{run.name}" for word in words)]


def go_on(runs: Iterable[Run], place: Place, log: Log, minutes: float = float("inf")) -> Progress:
    """Do the runs that are not done, one after the other, until the time is over.

    A run that has begun is finished. Several processes may be at it at once: none does what another
    is doing. A run that fails is left, and said at the end.
    """
    began, count, failed = time.monotonic(), 0, []
    for run in runs:
        if run.done(place):
            continue
        if run.missing_package:
            log(f"{run.table}/{run.name}: left out, install {run.missing_package} (extra bench)")
            continue
        for wanted in (*(needed for needed in run.needs if not needed.ready(place)), run):
            if time.monotonic() - began > 60.0 * minutes:
                log("time is over; the same command goes on from here")
                return Progress(count, failed)
            try:
                with at_work(place.working / wanted.table / wanted.name):
                    if not (wanted.done(place) if wanted is run else wanted.ready(place)):
                        _do(wanted, place, log)
                        count += 1
            except BusyError:
                log(f"{wanted.table}/{wanted.name}: another process is doing it")
                break
            except Exception:
                log(f"{wanted.table}/{wanted.name} failed:\n{traceback.format_exc()}")
                failed.append(f"{wanted.table}/{wanted.name}")
                break
    return Progress(count, failed)


def _do(run: Run, place: Place, log: Log) -> None:
    where = machine()
    log(f"{run.table}/{run.name}: {place.steps(run.budget)} steps")
    checkpoints = run.checkpoint_digests(place)
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
        checkpoints=checkpoints,
        **{**made._asdict(), "series": dict(made.series)},
    )
    path = write_result(place.results, run.name, result)
    scored = ""
    if result.final:
        scored = f"return {result.mean_return:.0f} over {len(result.final)} held-out episodes: "
    log(f"    {scored}{path}")
