"""The page of benchmarks, written from result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_HEAD = """# Benchmarks

Written by `python bench/learning.py report` from the files under `bench/results`, one per run;
`python bench/learning.py run` adds the runs that are missing. Intervals are 95 % of a bootstrap
over seeds; a middle value over seeds is the interquartile mean. Settings were chosen on seeds from
100 up, results are from the seeds named. Whatever fell short stands in the tables too."""


class Table(Protocol):
    """A module with a list of runs and a section made of their results."""

    def report(self, results: Path, figures: Path) -> str: ...


def write_document(document: Path, results: Path, tables: Sequence[Table]) -> None:
    """Write the page, and its figures beside it."""
    figures = document.parent / "figures"
    sections = [table.report(results, figures) for table in tables]
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text("\n\n".join([_HEAD, *filter(None, sections)]) + "\n")
