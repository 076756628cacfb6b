"""``retort launch``: every stage of a recipe in order, and the report on it."""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ..controller import load_bundle
from ..distill.diverged import DivergedError
from ..distill.stages.finished import require_other_runs
from ..distill.stages.rehearsal import rehearse
from ..hardware import load_robot
from ..hardware.errors import PortError, RetortError
from ..hardware.find_port import find_port
from ..hardware.virtual import FaultError
from . import run_config, virtual
from .figures import missed
from .files import at_work, refusal
from .ports import VIRTUAL, named_ports
from .recipe import Recipe
from .report import write_report
from .results import load_results
from .run import INTERRUPTED
from .stages import Ledger, StageError, stages_of
from .train import chosen_recipe, command_line, do_stage, run_folder
from .virtual import OptionError


def launch(options: argparse.Namespace) -> int:
    """Do what is not complete yet; the exit code says whether all of it is as it should be.

    Raises:
        RetortError: the recipe cannot be carried out; nothing was begun.
    """
    recipe = chosen_recipe(options)
    folder = run_folder(recipe, options)
    if options.fresh or not Ledger(folder, recipe).complete("distill"):
        rehearse(recipe)  # not after hours of training
        if recipe.distill.dataset is None:
            require_other_runs(recipe)
    if "run" in stages_of(recipe) and (options.fresh or not Ledger(folder, recipe).complete("run")):
        _require_run(recipe)
    with at_work(folder):
        return _launch(recipe, folder, options)


def _require_run(recipe: Recipe) -> None:
    """What the run will open is there, and fits the robot, before hours of training.

    Raises:
        StageError: it is not.
    """
    port, robot = recipe.run.port, load_robot(recipe.robot_world().robot)
    if port == VIRTUAL:
        try:
            virtual.check_faults(recipe.virtual, robot)
        except FaultError as error:
            raise StageError(f"virtual.faults: {error}") from error
        return
    try:
        for name in named_ports(robot, port).values():
            find_port(name)
    except (OptionError, PortError) as error:
        raise StageError(
            f"run.port is {port!r}: {error}; connect the robot before anything is trained, or add "
            f"--set run.port={VIRTUAL}"
        ) from error


def _launch(recipe: Recipe, folder: Path, options: argparse.Namespace) -> int:
    done, failed, again = [], None, True
    for name in stages_of(recipe):
        try:
            if _do(name, recipe, folder, fresh=options.fresh):
                done.append(name)
        except StageError:
            raise  # nothing was begun
        except RetortError as error:
            failed = f"{name} failed: {error}"
            again = not isinstance(error, DivergedError)  # which the same recipe would do again
            break
        except OSError as error:
            failed = f"{name} failed: {refusal(error)}"
            break
    if failed:
        print(f"retort: {failed}", file=sys.stderr)
        if again:
            line = command_line("launch", recipe, folder, options)
            print(f"`{line}` goes on from there", file=sys.stderr)
    page = folder / "report.html"
    if (folder / "recipe.toml").is_file() and (done or failed or not page.is_file()):
        page, _ = write_report(folder)
    if failed:
        return 1
    short = missed(load_results(folder))
    for figure in short:
        said = f"missed: {figure.name}: {figure.measured}, wanted {figure.target}"
        print(said, file=sys.stderr)
    print(f"report: {page}")
    if "run" in stages_of(recipe):
        print(f"next: retort run {shlex.quote(str(folder / 'student'))} --port PORT")
    return 1 if any(figure.decides for figure in short) else 0


def _do(name: str, recipe: Recipe, folder: Path, *, fresh: bool) -> bool:
    """Do one stage unless it is complete; whether there was something to do."""
    if name != "run":
        return do_stage(name, recipe, folder, fresh=fresh)
    ledger = Ledger(folder, recipe)
    if not ledger.begin(name, fresh=fresh, inputs=lambda: load_bundle(folder / "student")):
        return False
    _fly(recipe, folder)
    ledger.finish(name)
    return True


def _fly(recipe: Recipe, folder: Path) -> None:
    # A process of its own: nothing that training loaded stands beside the loop.
    command = [sys.executable, "-m", "retort.launch", "run", str(folder / "student")]
    command += ["--robot", recipe.robot_world().robot, "--out", str(folder)]
    command += [*run_config.as_options(recipe.run), *virtual.as_options(recipe.virtual)]
    code = _run(command)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        raise RetortError(f"the run on {recipe.run.port} ended with code {code}; see above")


def _run(command: Sequence[str]) -> int:
    """The exit code of ``command``, which is never left alone: it may drive a robot.

    Ctrl-C reaches it too; SIGTERM and SIGHUP are passed on. Either way it gets its time to stop.
    """
    process: subprocess.Popen[bytes] | None = None
    asked: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        asked.append(number)
        if process is not None:
            process.send_signal(number)

    before = {
        number: signal.signal(number, forward)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        process = subprocess.Popen(command)
        if asked:  # while it was being started
            process.send_signal(asked[0])
        while True:
            try:
                code = process.wait()
                return INTERRUPTED if asked else code
            except KeyboardInterrupt:
                continue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
