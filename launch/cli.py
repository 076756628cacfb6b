"""The command line. A verb's own imports wait until it is called: `retort --help` needs little."""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..hardware.checks import nearest
from ..hardware.errors import RetortError
from . import bench_host, control, emulate, monitor, recover, run, scan, sweep
from .files import refusal
from .run import INTERRUPTED

BAD_INPUT, FAILURE = 2, 1
STAGES = {
    "launch": "all of it: train, distill, export, eval, run, report",
    "train": "train the recipe's teacher",
    "distill": "distil the teacher into the student",
    "export": "write the student's bundle",
    "eval": "compare student and teacher at every level, or several runs",
}
_MORE = {
    "eval": " Runs must have been trained and distilled to the end. What is measured of one run "
    "goes into its folder, as evaluation.json, and is shown in its report."
}
# By name, because importing them would import what a verb may not need. All others are failures.
INPUT_ERRORS = {
    "BudgetError",
    "BundleError",
    "CommandError",
    "CompareError",
    "ContractError",
    "ControlError",
    "DatasetError",
    "DefinitionError",
    "DifficultyError",
    "EnvError",
    "FaultError",
    "FolderError",
    "ForeignTeacherError",
    "ForgettingError",
    "HostError",
    "MixtureError",
    "ModelError",
    "OptionError",
    "PolicyError",
    "RangeError",
    "RecipeError",
    "RehearsalError",
    "ResultsError",
    "RobotFileError",
    "RunError",
    "ScheduleError",
    "StageError",
    "StudentError",
    "SwitchError",
    "SweepError",
    "TaskError",
    "TermError",
    "WrapError",
}
EXTRAS = {
    "torch": "train",
    "mujoco": "train",
    "gymnasium": "train",
    "tensorboard": "train",
    "onnx": "train",
    "rich": "train",
    "tomli_w": "train",
    "matplotlib": "view",
    "PIL": "view",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0, 1 a failure, 2 bad input, 130 Ctrl-C."""
    try:
        options = _parsed(arguments)
    except SystemExit as ended:  # argparse has said what is wrong
        return ended.code if isinstance(ended.code, int) else BAD_INPUT
    try:
        code = options.act(options)
        sys.stdout.flush()
        return code
    except RetortError as error:
        return _complain(str(error), BAD_INPUT if _is_input(error) else FAILURE)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        what = f"`retort {options.verb}` needs retort[{extra}]"
        return _complain(f"{what}: pip install '.[{extra}]' in a clone of retort", FAILURE)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _unread():
            saved = "nobody reads the output any more; what was done is saved"
            return _complain(saved, FAILURE) if hasattr(options, "recipe") else FAILURE
        return _complain(refusal(error), FAILURE)
    except KeyboardInterrupt:
        if not hasattr(options, "recipe"):  # those with one go on where they stopped
            return _complain("interrupted", INTERRUPTED)
        given = sys.argv[1:] if arguments is None else arguments
        again = shlex.join(["retort", *(word for word in given if word != "--fresh")])
        return _complain(f"interrupted, with what was done saved; `{again}` resumes", INTERRUPTED)


def _unread() -> bool:
    """Whether our own output is what nobody reads any more, as behind `head`.

    Then it goes nowhere from here on, so that no later flush fails.
    """
    output = sys.stdout.fileno()
    watch = select.poll()
    watch.register(output, 0)  # broken pipes are told of unasked
    if not watch.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser, verbs = _parser()
    first = next(iter(sys.argv[1:] if arguments is None else arguments), "-")
    if not first.startswith("-") and first not in verbs:
        near = nearest(first, verbs)
        parser.error(f"there is no verb {first!r}{near}; the verbs are {', '.join(verbs)}")
    options, rest = parser.parse_known_args(arguments)
    if hasattr(options, "others") and not any(word.startswith("-") for word in rest):
        options.others += [Path(word) for word in rest]  # argparse takes none behind an option
    elif rest:
        verb = verbs[options.verb]
        near = nearest(rest[0].partition("=")[0], re.findall(r"--[a-z-]+", verb.format_usage()))
        verb.error(
            f"{rest[0]!r} is nothing that it takes{near}; `retort {options.verb} --help` lists all "
            "that is"
        )
    return options


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser, and the verbs it knows."""
    parser = argparse.ArgumentParser(
        prog="retort",
        description="From a MuJoCo model to a distilled policy on a robot made of serial servos.",
        epilog="`retort launch balancer` shows all of it; `retort VERB --help` says more.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which retort this is")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in STAGES.items():
        more = _MORE.get(name, "")
        verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.{more}")
        verb.add_argument(
            "recipe", help="a recipe's name, a .toml file, or an earlier run's folder"
        )
        verb.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY.SUB=VALUE",
            help="change one value of the recipe, written as in TOML; may be given several times; "
            "paths are relative to the working directory",
        )
        verb.add_argument(
            "--out", type=Path, metavar="FOLDER", help="default: runs/NAME, or the run folder given"
        )
        verb.add_argument("--fresh", action="store_true", help="start over instead of resuming")
        if name in ("launch", "distill"):
            verb.add_argument(
                "--budget-us",
                type=float,
                metavar="MICROSECONDS",
                help="take the largest student whose step keeps this (median) with 1 %% to spare, "
                "other widths than the recipe's; needs --host",
            )
            verb.add_argument(
                "--host", type=Path, metavar="FILE", help="what `retort bench host` wrote there"
            )
        if name == "launch":
            verb.add_argument(
                "--faults",
                metavar="FILE",
                help="a TOML profile of faults for the virtual robot; refused on a real port",
            )
        if name == "eval":
            _add_eval_options(verb)
        verb.set_defaults(act={"launch": _launch, "eval": _evaluate}.get(name, _stage))
    run.add_parser(verbs)
    emulate.add_parser(verbs)
    control.add_parser(verbs)
    for verb in (scan, monitor, recover):
        verb.add_parser(verbs)
    bench_host.add_parser(verbs)
    sweep.add_parser(verbs)
    report = verbs.add_parser(
        "report",
        help="write the report of a run folder",
        description="Write report.html into a run folder; whatever is missing there is said.",
    )
    report.add_argument("folder", type=Path, help="a run folder, such as runs/balancer")
    report.set_defaults(act=_report)
    return parser, verbs.choices


class _Version(argparse.Action):
    """Looked up only when asked for, which takes longer than all the rest."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"retort {version('retort')}")
        parser.exit()


def _add_eval_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "others",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="more run folders: all are compared on the same episodes, and --out says where "
        "comparison.json, comparison.svg and profiles.svg go (default: runs/comparison)",
    )
    verb.add_argument(
        "--noise",
        action="store_true",
        help="also with more and more noise on what is observed; noise.json in the run folder",
    )
    verb.add_argument(
        "--attack",
        action="store_true",
        help="also with observations changed on purpose; attack.json in the run folder",
    )
    verb.add_argument(
        "--epsilon",
        type=_strengths,
        metavar="E,E",
        help="how far an attack may move each normalised observation (default: 0.05,0.1); with "
        "--attack",
    )
    verb.add_argument(
        "--forgetting",
        action="store_true",
        help="also the student as it stood at each level change, on every level; forgetting.json "
        "in the run folder",
    )


def _strengths(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (0.0,)
    if not all(0 < value < 10 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers in (0, 10)")
    return values


def _launch(options: argparse.Namespace) -> int:
    from .pipeline import launch
    from .recipe import RecipeError, load_recipe

    if options.faults:
        environment = load_recipe(options.recipe, options.set).environment
        if environment is not None:
            raise RecipeError(
                f"--faults is for virtual robots, and {options.recipe} learns in {environment!r}, "
                "which has none; take it away"
            )
        options.set.append(f"virtual.faults={json.dumps(str(Path(options.faults).resolve()))}")
    return launch(options)


def _stage(options: argparse.Namespace) -> int:
    from .train import act

    return act(options)


def _evaluate(options: argparse.Namespace) -> int:
    from .evaluate import act

    return act(options)


def _report(options: argparse.Namespace) -> int:
    from .report import write_report

    path, rows = write_report(options.folder)
    judged = [row for row in rows if row.met is not None]
    met = sum(bool(row.met) for row in judged)
    print(f"report: {path} ({met} of {len(judged)} figures met)")
    return 0


def _is_input(error: RetortError) -> bool:
    """Whether the user's files or arguments are what is wrong."""
    return any(kind.__name__ in INPUT_ERRORS for kind in type(error).__mro__)


def _complain(sentence: str, code: int) -> int:
    print(f"retort: {sentence}", file=sys.stderr)
    return code
