"""``retort train``, ``distill``, ``export`` and ``eval``: one stage of a recipe each."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import shlex
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
from rich.table import Column

from ..controller.host import load_host
from ..distill.modes import MODES
from ..distill.stages import verbs as learning
from ..distill.stages.finished import (
    is_to_come,
    load_student,
    load_teacher,
    require_teachers,
    trained_otherwise,
)
from ..distill.stages.rehearsal import rehearse
from ..distill.students.budget import pick
from .files import at_work
from .recipe import Recipe, RecipeError, find_recipe, load_recipe
from .share import SHARES, said, share_of
from .stages import Ledger, ask_in_general, stages_of

Report = Callable[[Mapping[str, Any]], None]


def act(options: argparse.Namespace) -> int:
    """Do the stage called ``options.verb``; returns the exit code."""
    recipe = chosen_recipe(options)
    folder = run_folder(recipe, options)

    def asking(verb: str) -> str:
        return command_line(verb, recipe, folder, options)

    with at_work(folder):
        done = do_stage(options.verb, recipe, folder, fresh=options.fresh, asking=asking)
    if not done:
        print(f"{options.verb} is complete in {folder}; --fresh starts it over")
    after = "export" if "export" in stages_of(recipe) else "eval"
    if after == "eval" and not Ledger(folder, recipe).complete("train"):
        after = "train"  # of a data set: the evaluation compares with a teacher
    following = {
        "train": asking("distill"),
        "distill": asking(after),
        "export": f"retort run {shlex.quote(str(folder / 'student'))} --port PORT",
        "eval": f"retort report {shlex.quote(str(folder))}",
    }
    print(f"next: {following[options.verb]}")
    return 0


def chosen_recipe(options: argparse.Namespace) -> Recipe:
    """The recipe with its overrides, and with the largest student that keeps ``--budget-us``.

    Raises:
        RetortError: the recipe or the host file is not as it must be, or nothing fits the budget.
    """
    recipe = load_recipe(options.recipe, options.set)
    recipe.check()  # before anything begins: what cannot be leaves no trace
    budget, path = getattr(options, "budget_us", None), getattr(options, "host", None)
    if budget is None and path is None:
        return recipe
    if budget is None or path is None:
        raise RecipeError("--budget-us and --host belong together; give both or neither")
    chosen, larger = pick(load_host(path), recipe.student, recipe.world.interface(), budget)
    print(
        f"student: {chosen.config.kind} of width {chosen.width}, {chosen.parameters:,} parameters, "
        f"expected to take {chosen.p50:.1f} us of {budget:g}"
        + (
            f"; width {larger.width} is expected to take {larger.p50:.1f} us"
            if larger
            else "; no larger width is among those of `retort bench host`"
        )
    )
    return dataclasses.replace(recipe, student=chosen.config)


def run_folder(recipe: Recipe, options: argparse.Namespace) -> Path:
    """Where a recipe's run is kept: ``--out``, the run folder given as the recipe, or its name."""
    if options.out is not None:
        return options.out
    given = Path(options.recipe)
    return given if find_recipe(given).parent == given else Path("runs") / recipe.name


def command_line(verb: str, recipe: Recipe, folder: Path, options: argparse.Namespace) -> str:
    """What to type for ``verb`` with the same recipe in the same folder: the folder alone once it
    holds that recipe, all that was given until then.
    """
    words = ["retort", verb]
    if _holds(folder, recipe):
        return shlex.join([*words, str(folder)])
    words.append(options.recipe)
    for change in options.set:
        words += ["--set", change]
    if options.out is not None:
        words += ["--out", str(options.out)]
    if verb in ("launch", "distill") and getattr(options, "host", None) is not None:
        words += ["--budget-us", f"{options.budget_us:g}", "--host", str(options.host)]
    return shlex.join(words)


def _holds(folder: Path, recipe: Recipe) -> bool:
    try:
        return load_recipe(folder / "recipe.toml") == recipe
    except (RecipeError, OSError):
        return False


def do_stage(
    name: str,
    recipe: Recipe,
    folder: Path,
    *,
    fresh: bool = False,
    asking: Callable[[str], str] = ask_in_general,
) -> bool:
    """Do stage ``name`` unless it is complete; whether there was something to do.

    The caller holds ``at_work(folder)``. ``asking`` is as ``Ledger.begin`` has it.

    Raises:
        RetortError: the stage cannot begin, or it failed.
    """
    ledger = Ledger(folder, recipe)
    inputs = functools.partial(_require, name, recipe, folder)
    if not ledger.begin(name, fresh=fresh, inputs=inputs, asking=asking):
        return False
    if name == "train":
        for other in filter(is_to_come, recipe.distill.teachers.named):
            print(f"train: {other.path} holds no finished teacher yet; distill needs one there")
    if name == "distill" and recipe.distill.dataset is None:
        for sentence in trained_otherwise(recipe):
            print(f"distill: {sentence}")
    in_episodes = name == "train" or (name == "distill" and MODES[recipe.distill.mode].acts)
    if in_episodes and not fresh and ledger.file(name).is_file() and not recipe.world.resumable:
        print(
            f"{name}: goes on with new episodes, since {recipe.world.name} cannot be stopped in "
            "the middle of one; the result is not to the bit that of an uninterrupted training"
        )
    _make(name, recipe, folder, fresh=fresh)
    ledger.finish(name)
    return True


def _require(name: str, recipe: Recipe, folder: Path) -> None:
    """What stage ``name`` reads must be there and whole."""
    if name in ("train", "distill"):
        rehearse(recipe)
    if name == "distill":
        if recipe.distill.dataset is None:
            require_teachers(recipe, folder)
    elif name in ("export", "eval"):
        load_student(recipe, folder)
    if name == "eval":
        load_teacher(recipe, folder)


def _make(name: str, recipe: Recipe, folder: Path, *, fresh: bool) -> None:
    with progress_bar(name) as report:
        if name == "train":
            made = learning.train_teacher(recipe, folder, fresh=fresh, progress=report)
        elif name == "distill":
            made = learning.distil_student(recipe, folder, fresh=fresh, progress=report)
        elif name == "export":
            made = learning.export_bundle(recipe, folder)
        else:
            learning.evaluate(recipe, folder, fresh=fresh, progress=report)
            made = folder / "evaluation.json"
    print(f"{name}: made {made}")


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Report]:
    """A progress bar fed with what the stages report as they go.

    Facts get what the others leave of the line, on 80 columns about 50.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=8),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn(
            "{task.fields[facts]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        ),
    )
    with Progress(*columns, console=console, expand=True) as bar:
        task = bar.add_task(what, total=None, facts="")

        def report(row: Mapping[str, Any]) -> None:
            done, total = ("steps", "budget") if "budget" in row else ("done", "total")
            bar.update(task, completed=row[done], total=row[total], facts=_facts(row))

        yield report


def _facts(row: Mapping[str, Any]) -> str:
    """The few numbers of a row that tell a person how it goes."""
    shown = []
    if "steps_per_second" in row:
        shown.append(f"{row['steps_per_second']:,.0f}/s")
    if isinstance(score := row.get("score", row.get("score_student")), float):
        teacher = row.get("score_teacher")
        of = f" of {teacher:.3g}" if isinstance(teacher, float) else ""  # what its teacher has
        shown.append(f"score {score:.3g}{of}")
    if isinstance(row.get("falls_per_minute"), float):
        shown.append(f"falls/min {row['falls_per_minute']:.3g}")
    if row.get("levels"):
        shown.append("levels " + " ".join(str(level) for level in row["levels"].values()))
    if "row" in row:
        measure = SHARES[share_of([row["row"]])]
        shown.append(f"level {row['row']['level']}: {said(row['row'])} ({measure})")
    return "  ".join(shown)
