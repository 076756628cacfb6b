"""``retort eval RUN RUN ...``: any number of finished runs on the same held-out episodes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..distill.evaluation import (
    EvaluationConfig,
    Reuse,
    actor_of,
    anew,
    random_actor,
    run_episodes,
)
from ..distill.evaluation.comparison import ArmScores, Comparison, compare_arms
from ..distill.evaluation.outcomes import Outcomes, fingerprint, outcomes_path
from ..distill.evaluation.statistics import Interval
from ..distill.stages.finished import load_student, load_teacher
from ..hardware.checks import RangeError
from ..hardware.errors import RetortError
from .files import at_work, write_whole
from .recipe import Recipe, load_recipe, plain, sections
from .stages import Ledger

OUT = Path("runs/comparison")
# Or episodes would not be the same ones; what students see of them may differ.
_SAME = ("robot", "task", "environment", "gymnasium", "simulation", "switches")
_TRAINING = ("contract", "gymnasium", "teacher", "student", "distill", "curriculum")


class CompareError(RetortError):
    """Runs cannot be compared: one is no run, is not finished, or is of another task."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    recipe: Recipe

    def is_another_seed_of(self, other: Run) -> bool:
        """They were trained alike. Each may have teachers and data of its own seed, if that is what
        tells their names apart, as ``sac-s1.zip`` and ``sac-s2.zip``.
        """
        one, two = (sections(run.recipe, _TRAINING) for run in (self, other))
        mine, theirs = ((said["distill"].pop("dataset", ""), _others(said)) for said in (one, two))
        return one == two and _alike(mine, theirs, (self.recipe.seed, other.recipe.seed))


def _others(said: dict[str, Any]) -> Any:
    """Takes the other teachers out of a recipe's sections."""
    return said["distill"].get("teachers", {}).pop("others", [])


def _alike(one: Any, two: Any, seeds: tuple[int, int]) -> bool:
    """TOML data that differ in nothing but each having its seed where the other has its own."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_alike(one[k], two[k], seeds) for k in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        pairs = itertools.zip_longest(one, two)
        return len(one) == len(two) and all(_alike(a, b, seeds) for a, b in pairs)
    if isinstance(one, str) and isinstance(two, str):
        parts = itertools.zip_longest(*(re.split(r"(\d+)", text) for text in (one, two)))
        return all(a == b or (a, b) == tuple(map(str, seeds)) for a, b in parts)
    return bool(one == two)


@dataclasses.dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but their seed, and teachers and data of that seed."""

    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """What its folders' names begin with in common."""
        names = [str(run.folder) for run in self.runs]
        common = os.path.commonprefix(names)  # noqa: RUF071 - of characters is what is wanted
        if len(names) > 1:
            common = common.rstrip("0123456789").rstrip("-_./ ")
        return common or f"{names[0]} and {len(names) - 1} more"


def compare_runs(folders: Sequence[Path], out: Path, *, fresh: bool = False) -> Comparison:
    """Evaluate every run's student and teacher, print a table, write JSON and figures to ``out``.

    Episodes are those of the first run's ``[evaluation]``: its hardest level, its seed. What a
    policy did is written to ``out`` as soon as it has ended; runs that are the same as in an
    earlier comparison there are not evaluated again, unless all is to be ``fresh``.

    Raises:
        CompareError: a folder holds no finished run, or one of another task.
        RetortError: a checkpoint is damaged.
        FileError: ``out`` cannot be written.
    """
    runs = load_runs(folders)
    arms = group(runs)
    config = runs[0].recipe.evaluation
    results, parameters, scores = {}, {}, []
    with at_work(out):
        outcomes = Outcomes(outcomes_path(out, "runs"), json.dumps(plain(config)), fresh=fresh)
        for number, run in enumerate(runs):
            print(f"evaluating run {number + 1} of {len(runs)}", file=sys.stderr, flush=True)
            results[run.folder], parameters[run.folder] = evaluate_run(run, config, outcomes)
    for arm in arms:
        parts = (np.stack([results[run.folder][who] for run in arm.runs]) for who in range(3))
        scores.append(ArmScores(arm.name, *parts))
    comparison = compare_arms(scores, np.random.default_rng(config.seed))
    told = comparison.to_json()
    data = {
        **sections(runs[0].recipe, ("robot", "task", "environment")),
        "level": "hardest",
        "seed": config.seed + 1,
        "episodes": config.hardest_episodes,
        "seconds": config.hardest_seconds,
        "arms": [
            {
                **compared,
                "folders": [str(run.folder) for run in arm.runs],
                "seeds": [run.recipe.seed for run in arm.runs],
                "parameters": parameters[arm.runs[0].folder],
            }
            for arm, compared in zip(arms, told["arms"], strict=True)
        ],
        "profiles": told["profiles"],
    }
    write_whole(out / "comparison.json", json.dumps(data, indent=1) + "\n")
    for line in table(comparison, [parameters[arm.runs[0].folder] for arm in arms]):
        print(line)
    from . import evaluation_plots as plots  # what was measured is written without it

    plots.draw_comparison(comparison, out / "comparison.svg")
    plots.draw_profiles(comparison.profiles, out / "profiles.svg")
    print(f"eval: made {out / 'comparison.json'}, comparison.svg and profiles.svg")
    return comparison


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in ``folders``, all finished, of one task, and trained on other episodes than those
    of the first one's evaluation.

    Raises:
        CompareError: they are not.
    """
    runs: list[Run] = []
    for folder in folders:
        if not (folder / "recipe.toml").is_file():
            raise CompareError(
                f"{folder} is no run folder: it holds no recipe.toml; name folders that "
                "`retort launch` or `retort distill` made"
            )
        if any(folder.resolve() == run.folder.resolve() for run in runs):
            raise CompareError(f"{folder} is given twice; name each run once")
        recipe = load_recipe(folder)
        ledger = Ledger(folder, recipe)
        for stage in ("train", "distill"):
            if not ledger.complete(stage):
                raise CompareError(
                    f"{folder} is not finished: {stage} is not complete there; "
                    f"`retort {stage} {shlex.quote(str(folder))}` goes on with it"
                )
        runs.append(Run(folder, recipe))
    first = episodes_of(runs[0].recipe)
    for run in runs[1:]:
        for name, value in episodes_of(run.recipe).items():
            if value != first.get(name):
                raise CompareError(
                    f"{run.folder} was made for another {name} than {runs[0].folder} ({value} and "
                    f"{first.get(name)}); compare runs of one robot, task and simulation, or of "
                    "one environment, with the same switches"
                )
    for run in runs:
        try:
            runs[0].recipe.evaluation.check_held_out(run.recipe.seed)
        except RangeError as error:
            raise CompareError(
                f"{run.folder} cannot be evaluated on the episodes of {runs[0].folder}: {error}"
            ) from error
    return runs


def episodes_of(recipe: Recipe) -> dict[str, Any]:
    """What decides which episodes a run is evaluated on."""
    said = sections(recipe, _SAME)
    if recipe.gymnasium is not None:
        said["gymnasium"] = {k: v for k, v in said["gymnasium"].items() if k != "view"}
    return said


def group(runs: Sequence[Run]) -> list[Arm]:
    """Arms in the order of their first runs. The same seed twice is not another seed."""
    arms: list[list[Run]] = []
    for run in runs:
        for arm in arms:
            seeds = {other.recipe.seed for other in arm}
            if run.is_another_seed_of(arm[0]) and run.recipe.seed not in seeds:
                arm.append(run)
                break
        else:
            arms.append([run])
    return [Arm(tuple(arm)) for arm in arms]


def evaluate_run(
    run: Run, config: EvaluationConfig, reuse: Reuse = anew
) -> tuple[list[np.ndarray], int]:
    """Scores of student, teacher and a random policy, (episodes,) each, and the student's
    parameters.
    """
    student = load_student(run.recipe, run.folder)
    teacher = load_teacher(run.recipe, run.folder)
    seed, of = config.seed + 1, fingerprint(run.recipe, run.folder)
    env = run.recipe.world.make_env(
        config.hardest_episodes, episode_seconds=config.hardest_seconds, autoreset=False
    )
    actors = {
        "student": actor_of(student),
        "teacher": actor_of(teacher.actor),
        "random": random_actor(env, torch.Generator().manual_seed(seed)),
    }
    scores = [
        reuse(f"{name} of {of}", lambda actor=actor: run_episodes(env, actor, seed)).score
        for name, actor in actors.items()
    ]
    return scores, student.parameter_count()


def table(comparison: Comparison, parameters: Sequence[int]) -> list[str]:
    """The comparison in 80 columns: the arms by themselves, then against their teachers."""
    arms = comparison.arms
    lines = [f"{'arm':<18}{'runs':>4}{'params':>10}{'score (95 %)':>24}{'P(1st better)':>19}"]
    for arm, count in zip(arms, parameters, strict=True):
        better = "-" if arm.first_better is None else _said(arm.first_better, 2)
        score = _said(arm.score)
        lines.append(f"{_short(arm.name):<18}{arm.runs:>4}{count:>10,}{score:>24}{better:>19}")
    lines.append(f"{'':<18}{'S/T (95 %)':>24}{'(S-J0)/(T-J0)':>24}{'S-T':>10}")
    for arm in arms:
        difference = f"{arm.difference.value:.{_digits([arm.difference.value])}f}"
        lines.append(
            f"{_short(arm.name):<18}{_said(arm.of_teacher):>24}{_said(arm.normalised):>24}"
            f"{difference:>10}"
        )
    lines.append("S, T and J0 are the scores of student, teacher and a random policy: S/T is what")
    lines.append("the student keeps of its teacher, (S-J0)/(T-J0) of what the teacher learnt.")
    lines.append("Scores: plain mean of a run's episodes, interquartile mean of an arm's runs.")
    if any(arm.of_teacher is None or arm.normalised is None for arm in arms):
        lines.append("undefined: the teacher's score is not surely above 0, or a random policy's.")
    if any(arm.over == "episodes" for arm in arms):
        lines.append("Intervals are over episodes where an arm has fewer than 3 runs: they say")
        lines.append("how well these policies are known, not what another seed would give.")
    return lines


def _short(name: str) -> str:
    return name if len(name) <= 17 else f"…{name[-16:]}"


def _said(found: Interval | None, digits: int = 3) -> str:
    if found is None:
        return "undefined"
    digits = _digits((found.value, found.low, found.high), digits)
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _digits(values: Sequence[float], digits: int = 3) -> int:
    """Behind the point, of numbers that stand together: returns of thousands have none."""
    return max(0, digits - len(f"{max(map(abs, values)):.0f}") + 1)
