"""The page of benchmarks, written from result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .claims import Claiming, scorecard
from .report import paragraph
from .results import read_result
from .runs import Place, Run, suffix

_HEAD = (
    "Written by `python bench/learning.py report{option}` from the files under `{results}`, one "
    "per run; `python bench/learning.py run{option}` adds the runs that are missing. Intervals are "
    "95 % of a bootstrap over seeds, and a middle value over seeds is the interquartile mean; "
    "where one seed is done, its number stands alone. Of three seeds that mean is the plain one, "
    "and the interval is nearly always from the lowest to the highest, which holds the true mean "
    "three times in four rather than 19 in 20: this round shows what is far apart, and a claim to "
    "have matched or beaten a published figure waits for 5 or 10. Settings were chosen on seeds "
    "from 100 up, results are from the seeds named. Where a setting, a task or code that a result "
    "depends on changed, its runs were made anew, sometimes after the seeds named had fallen "
    "short, so that these were not blind; earlier results stand in the history of `{results}`. "
    "Whatever falls short stands in the tables too."
)
_SCALED = (
    "Every budget is {scale:g} times that of the round which stands in `docs/benchmarks.md`, the "
    "teachers' too. What the words below tell of tuning seeds, of earlier rounds and of why "
    "something falls short is of that round; figures, and the steps of runs, are of this one."
)


class Table(Protocol):
    """What a module of this package offers that is a table of the page."""

    def runs(self, seeds: Sequence[int] = ...) -> list[Run]:
        """All of these seeds, or of those that its page waits for; one whose runs differ in nothing
        by seed lists the same whatever is asked for.
        """
        ...

    def report(self, results: Path, figures: Path) -> str:
        """The section of the page, and its figures; empty where no run is done."""
        ...


def write_document(
    document: Path, place: Place, tables: Sequence[Table], claiming: Sequence[Claiming] = ()
) -> None:
    """Write the page, and its figures beside it; what is claimed comes first."""
    figures = document.parent / f"figures{suffix(place.scale)}"
    texts = [table.report(place.results, figures) for table in tables]
    document.parent.mkdir(parents=True, exist_ok=True)
    said = scorecard(claiming, place.results)
    head = [_head(place), paragraph(_progress(place, tables))]
    document.write_text("\n\n".join(filter(None, [*head, said, *texts])) + "\n")


def _head(place: Place) -> str:
    """Where it comes from, and what is to be known of all tables."""
    results = f"{place.results.parent.name}/{place.results.name}"
    option = "" if place.scale == 1.0 else f" --scale {place.scale:g}"
    parts = ["# Benchmarks", paragraph(_HEAD.format(option=option, results=results))]
    if place.scale != 1.0:
        parts.append(paragraph(_SCALED.format(scale=place.scale)))
    return "\n\n".join(parts)


def _progress(place: Place, tables: Sequence[Table]) -> str:
    """How much of each table is done."""
    done, listed = [], set()
    for table in tables:
        runs = table.runs()
        if not runs:  # made of another table's
            continue
        count = sum(run.done(place) for run in runs)
        done.append(f"{runs[0].table}: {count} of {len(runs)}")
        listed |= {(run.table, run.name) for run in runs}
    others = len({(path.parent.name, path.stem) for path in _files(place)} - listed)
    more = f", and {others} of other seeds" if others else ""
    return f"Runs done of those listed: {'; '.join(done)}{more}. {_uncommitted(place)}"


def _files(place: Place) -> list[Path]:
    return sorted(place.results.glob("*/*.json"))


def _uncommitted(place: Place) -> str:
    """How many results the commit in their file does not tell whole."""
    every = [read_result(path) for path in _files(place)]
    changed = sum(result.commit.endswith("+") for result in every)
    return (
        f"{changed} of the {len(every)} files name a commit with `+`: the tree differed from it "
        "then, be it by nothing but results."
    )
