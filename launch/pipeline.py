"""``retort launch``: every stage of a recipe in order, and the report on it."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from ..hardware.errors import RetortError
from . import run, virtual
from .figures import missed
from .recipe import Recipe, load_recipe
from .report import write_report
from .results import load_results
from .stages import ORDER, Ledger, StageError
from .train import do_stage, run_folder


def launch(options: argparse.Namespace) -> int:
    """Do what is not complete yet; the exit code says whether all of it is as it should be."""
    recipe = load_recipe(options.recipe, options.set)
    folder = run_folder(recipe, options.out)
    done, failed = [], None
    for name in ORDER:
        try:
            if _do(name, recipe, folder, fresh=options.fresh):
                done.append(name)
        except StageError:
            raise  # nothing was begun
        except RetortError as error:
            failed = f"{name} failed: {error}"
            break
        except OSError as error:
            failed = f"{name} failed: {error.strerror or error} ({error.filename or folder})"
            break
    page = folder / "report.html"
    if folder.is_dir() and (done or failed or not page.is_file()):
        page, _ = write_report(folder)
    if failed:
        print(f"retort: {failed}", file=sys.stderr)
        print(f"`retort launch {options.recipe}` goes on from there", file=sys.stderr)
        return 1
    short = missed(load_results(folder))
    for figure in short:
        said = f"missed: {figure.name}: {figure.measured}, wanted {figure.target}"
        print(said, file=sys.stderr)
    print(f"report: {page}")
    print(f"next: retort run {folder / 'student'} --port PORT")
    return 1 if any(figure.decides for figure in short) else 0


def _do(name: str, recipe: Recipe, folder: Path, *, fresh: bool) -> bool:
    """Do one stage unless it is complete; whether there was something to do."""
    if name != "run":
        return do_stage(name, recipe, folder, fresh=fresh)
    ledger = Ledger(folder, recipe)
    if not ledger.begin(name, fresh=fresh):
        return False
    # A process of its own: nothing that training loaded stands beside the loop.
    command = [sys.executable, "-m", "retort.launch.cli", "run", str(folder / "student")]
    command += ["--robot", recipe.robot, "--out", str(folder)]
    command += [*run.as_options(recipe.run), *virtual.as_options(recipe.virtual)]
    code = _wait(subprocess.Popen(command))
    if code == run.INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        raise RetortError(f"the run on {recipe.run.port} ended with code {code}; see above")
    ledger.finish(name)
    return True


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. Ctrl-C reaches ``process`` too, which needs its time to stop a robot."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
