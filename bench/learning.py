"""Benchmarks of learning that accumulate: one result file per run under ``bench/results``.

    python bench/learning.py                          what is done and what is left
    python bench/learning.py run [WORD ...]           go on where the files end
    python bench/learning.py report                   tables and figures into docs/benchmarks.md

A run is named ``table/task_arm_sSEED``; words choose those that contain all of them. Stopped at
any time, nothing finished is lost; a second process takes what the first is not at. What a run
leaves for others stands in ``bench/checkpoints``. With ``--scale`` every budget is so many times
the usual one and nothing mixes with the usual results: of 4, say, they stand in
``bench/results-x4``, ``bench/checkpoints-x4`` and ``docs/benchmarks-x4.md``; of less than 1, which
is a smoke test, all is under ``runs``.
"""

from __future__ import annotations

import argparse
import itertools
import signal
from pathlib import Path

import torch
from harness.document import write_document
from harness.runs import Place, Run, go_on, select, suffix
from harness.tables import CLAIMING, TABLES

ROOT = Path(__file__).parents[1]
_TUNING = 100  # the first seed on which settings are chosen, and none is shown


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", nargs="?", choices=("status", "run", "report"), default="status")
    parser.add_argument("words", nargs="*", help="only runs whose name has all of them")
    parser.add_argument("--seeds", type=_seeds, help="these instead of 1 to 3, as 4,5 or 1-10")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin none after it")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="times every budget, in folders of its own"
    )
    parser.add_argument("--results", type=Path, help="folder of the files")
    parser.add_argument(
        "--document", type=Path, help="the page, in docs unless it is a smoke test's or --results'"
    )
    given = parser.parse_args(arguments)
    if not 0.0 < given.scale < float("inf"):
        parser.error(f"--scale is {given.scale}; use a number above 0, as 0.01 or 4")
    place = _place(given.scale, given.results)
    listed = [t.runs() if given.seeds is None else t.runs(given.seeds) for t in TABLES]
    runs = select(itertools.chain(*listed), given.words)
    if given.verb == "run":
        torch.set_num_threads(1)  # networks this small are no work for two; physics has all cores
        torch.optim.Adam([torch.zeros(1)])  # torch loads half of itself now, not in the first run
        done, failed = go_on(runs, place, lambda text: print(text, flush=True), given.minutes)
        print(f"{done} runs done, {sum(not run.done(place) for run in runs)} left")
        for name in failed:
            print(f"failed: {name}")
        return 1 if failed else 0
    if given.verb == "report":
        document = given.document or _page(place, given.results)
        write_document(document, place, TABLES, CLAIMING)
        print(f"wrote {document}")
    else:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` has seen enough
        _status(runs, place)
    return 0


def _place(scale: float, results: Path | None) -> Place:
    """Of the real budgets and of larger ones in folders of their own that can be committed, of
    smaller ones among what is not.
    """
    working = ROOT / "runs" / f"bench{suffix(scale)}"
    folder, named = (ROOT / "bench", suffix(scale)) if scale >= 1.0 else (working, "")
    results = results or folder / f"results{named}"
    return Place(results, folder / f"checkpoints{named}", working, scale)


def _page(place: Place, results: Path | None) -> Path:
    """Where the report goes if nothing is said: never over the page of other results."""
    usual = results is None and place.scale >= 1.0
    folder = ROOT / "docs" if usual else place.results.parent
    return folder / f"benchmarks{suffix(place.scale)}.md"


def _status(runs: list[Run], place: Place) -> None:
    for run in runs:
        state = "done" if run.done(place) else "left"
        if state == "left" and run.missing_package:
            state = f"needs {run.missing_package}"
        print(f"{state:6} {run.table}/{run.name}")
    print(f"{sum(run.done(place) for run in runs)} of {len(runs)} done in {place.results}")


def _seeds(text: str) -> tuple[int, ...]:
    """Single ones and ranges, as 4,5 or 1-10."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            seeds += range(int(first), int(last or first) + 1)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{part!r} is no seed; use 4,5 or 1-10") from None
    if not seeds or not 1 <= min(seeds) <= max(seeds) < _TUNING:
        raise argparse.ArgumentTypeError(
            f"{text} is not within 1 to {_TUNING - 1}; those from {_TUNING} up choose settings"
        )
    return tuple(dict.fromkeys(seeds))


if __name__ == "__main__":
    raise SystemExit(main())
