"""The page of benchmarks, written from result files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

_HEAD = """# Benchmarks

Written by `python bench/learning.py report` from the files under `bench/results`, one per run;
`python bench/learning.py run` adds the runs that are missing. Intervals are 95 % of a bootstrap
over seeds; a middle value over seeds is the interquartile mean. Settings were chosen on seeds from
100 up, results are from the seeds named. Whatever fell short stands in the tables too."""


Section = Callable[[Path, Path], str]  # results and figures' folders to Markdown, or nothing


def write_document(document: Path, results: Path, sections: Sequence[Section]) -> None:
    """Write the page, and its figures beside it."""
    figures = document.parent / "figures"
    texts = [section(results, figures) for section in sections]
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text("\n\n".join([_HEAD, *filter(None, texts)]) + "\n")
