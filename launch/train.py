"""``retort train``, ``distill``, ``export`` and ``eval``: one stage of a recipe each."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from ..distill import stages as learning
from .recipe import Recipe, load_recipe
from .stages import Ledger

Report = Callable[[Mapping[str, Any]], None]


def act(options: argparse.Namespace) -> int:
    """Do the stage called ``options.verb``; returns the exit code."""
    recipe = load_recipe(options.recipe, options.set)
    folder = run_folder(recipe, options.out)
    done = do_stage(options.verb, recipe, folder, fresh=options.fresh)
    if not done:
        print(f"{options.verb} is complete in {folder}; --fresh starts it over")
    following = {
        "train": f"retort distill {options.recipe}",
        "distill": f"retort export {options.recipe}",
        "export": f"retort run {folder / 'student'} --port PORT",
        "eval": f"retort report {folder}",
    }
    print(f"next: {following[options.verb]}")
    return 0


def run_folder(recipe: Recipe, out: Path | None) -> Path:
    """Where a recipe's run is kept."""
    return out or Path("runs") / recipe.name


def do_stage(name: str, recipe: Recipe, folder: Path, *, fresh: bool = False) -> bool:
    """Do stage ``name`` unless it is complete; whether there was something to do."""
    ledger = Ledger(folder, recipe)
    if not ledger.begin(name, fresh=fresh):
        return False
    if name == "train":
        with _bar("train", recipe.teacher.steps) as report:
            learning.train_teacher(recipe, folder, fresh=fresh, progress=report)
        made = folder / "teacher"
    elif name == "distill":
        with _bar("distill", recipe.distill.steps) as report:
            learning.distil_student(recipe, folder, fresh=fresh, progress=report)
        made = folder / "distillation"
    elif name == "export":
        learning.export_bundle(recipe, folder)
        made = folder / "student"
    else:
        with _bar("eval", None) as report:
            learning.evaluate(recipe, folder, progress=report)
        made = folder / "evaluation.json"
    ledger.finish(name)
    print(f"{name}: made {made}")
    return True


@contextlib.contextmanager
def _bar(what: str, steps: int | None) -> Iterator[Report]:
    """A progress bar fed with the rows of ``progress.jsonl``; a line now and then in a file."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[facts]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=steps, facts="")

        def report(row: Mapping[str, Any]) -> None:
            bar.update(task, completed=row.get("steps", 0), facts=_facts(row))

        yield report


def _facts(row: Mapping[str, Any]) -> str:
    """The few numbers of a row that tell a person how it goes."""
    shown = []
    if "steps_per_second" in row:
        shown.append(f"{row['steps_per_second']:,.0f} steps/s")
    for name in ("score", "score_student", "score_teacher", "falls_per_minute"):
        if isinstance(row.get(name), float):
            shown.append(f"{name.replace('_', ' ')} {row[name]:.3g}")
    if "levels" in row:
        shown.append("levels " + " ".join(str(level) for level in row["levels"].values()))
    return "  ".join(shown)
