"""``retort eval RUN RUN ...``: any number of finished runs on the same held-out episodes."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..distill.comparison import ArmScores, Comparison, compare_arms
from ..distill.evaluation import EvaluationConfig, actor_of, run_episodes
from ..distill.finished import load_student, load_teacher
from ..hardware.errors import RetortError
from .files import write_whole
from .recipe import Recipe, load_recipe, sections
from .stages import Ledger

OUT = Path("runs/comparison")
_SAME = ("robot", "task", "simulation")  # or episodes would not be the same ones
_TRAINING = ("contract", "teacher", "student", "distill", "curriculum")


class CompareError(RetortError):
    """Runs cannot be compared: one is no run, is not finished, or is of another task."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    recipe: Recipe

    @property
    def settings(self) -> dict[str, Any]:
        """What makes two runs two seeds of one arm."""
        return sections(self.recipe, _TRAINING)


@dataclasses.dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but their seed."""

    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """What its folders' names begin with in common."""
        names = [str(run.folder) for run in self.runs]
        common = os.path.commonprefix(names)  # noqa: RUF071 - of characters is what is wanted
        if len(names) > 1:
            common = common.rstrip("0123456789").rstrip("-_./ ")
        return common or f"{names[0]} and {len(names) - 1} more"


def compare_runs(folders: Sequence[Path], out: Path) -> Comparison:
    """Evaluate every run's student and teacher, print a table, write JSON and a figure to ``out``.

    Episodes are those of the first run's ``[evaluation]``: its hardest level, its seed.

    Raises:
        CompareError: a folder holds no finished run, or one of another task.
        RetortError: a checkpoint is damaged.
        FileError: ``out`` cannot be written.
    """
    runs = load_runs(folders)
    arms = group(runs)
    config = runs[0].recipe.evaluation
    results, parameters, scores = {}, {}, []
    for number, run in enumerate(runs):
        said = f"\revaluating run {number + 1} of {len(runs)}"
        print(said, end="", file=sys.stderr, flush=True)
        results[run.folder], parameters[run.folder] = evaluate_run(run, config)
    print(file=sys.stderr)
    for arm in arms:
        student, teacher = (
            np.stack([results[run.folder][who] for run in arm.runs]) for who in (0, 1)
        )
        scores.append(ArmScores(arm.name, student, teacher))
    comparison = compare_arms(scores, np.random.default_rng(config.seed))
    data = {
        "robot": runs[0].recipe.robot,
        "task": runs[0].recipe.task,
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
            for arm, compared in zip(arms, comparison.to_json()["arms"], strict=True)
        ],
    }
    write_whole(out / "comparison.json", json.dumps(data, indent=1) + "\n")
    for line in table(comparison, [parameters[arm.runs[0].folder] for arm in arms]):
        print(line)
    from .evaluation_plots import draw_comparison  # what was measured is written without it

    draw_comparison(comparison, out / "comparison.svg")
    print(f"eval: made {out / 'comparison.json'} and {out / 'comparison.svg'}")
    return comparison


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in ``folders``, all finished and of one task.

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
                    f"`retort {stage} {folder}` goes on with it"
                )
        runs.append(Run(folder, recipe))
    first = sections(runs[0].recipe, _SAME)
    for run in runs[1:]:
        for name, value in sections(run.recipe, _SAME).items():
            if value != first.get(name):
                raise CompareError(
                    f"{run.folder} was made for another {name} than {runs[0].folder} ({value} and "
                    f"{first.get(name)}); compare runs of one robot, task and simulation"
                )
    return runs


def group(runs: Sequence[Run]) -> list[Arm]:
    """Arms in the order of their first runs. The same seed twice is not another seed."""
    arms: list[list[Run]] = []
    for run in runs:
        for arm in arms:
            seeds = {other.recipe.seed for other in arm}
            if run.settings == arm[0].settings and run.recipe.seed not in seeds:
                arm.append(run)
                break
        else:
            arms.append([run])
    return [Arm(tuple(arm)) for arm in arms]


def evaluate_run(run: Run, config: EvaluationConfig) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Scores of student and teacher, (episodes,) each, and the student's parameters."""
    student = load_student(run.recipe, run.folder)
    teacher = load_teacher(run.recipe, run.folder)
    env = run.recipe.make_env(
        config.hardest_episodes, episode_seconds=config.hardest_seconds, autoreset=False
    )
    ours, theirs = (
        run_episodes(env, actor_of(policy), config.seed + 1).score
        for policy in (student, teacher.actor)
    )
    return (ours, theirs), student.parameter_count()


def table(comparison: Comparison, parameters: Sequence[int]) -> list[str]:
    """The comparison in 80 columns."""
    head = ("arm", "runs", "params", "score (95 %)", "S/T", "P(1st better)")
    lines = [f"{head[0]:<21}{head[1]:>4}{head[2]:>8}{head[3]:>22}{head[4]:>7}{head[5]:>18}"]
    for arm, count in zip(comparison.arms, parameters, strict=True):
        name = arm.name if len(arm.name) <= 20 else f"…{arm.name[-19:]}"
        score = f"{arm.score.value:.3f} [{arm.score.low:.3f}, {arm.score.high:.3f}]"
        better = arm.first_better
        said = (
            "-" if better is None else f"{better.value:.2f} [{better.low:.2f}, {better.high:.2f}]"
        )
        lines.append(
            f"{name:<21}{arm.runs:>4}{count:>8,}{score:>22}{arm.of_teacher.value:>7.3f}{said:>18}"
        )
    few = [arm for arm in comparison.arms if arm.over == "episodes"]
    if few:
        lines.append("Intervals are over episodes where an arm has fewer than 3 runs: they say")
        lines.append("how well these policies are known, not what another seed would give.")
    return lines
