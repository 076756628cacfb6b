"""Any number of arms compared on the same held-out episodes, with honest intervals.

An arm is one way of training, tried with one seed or several. With three runs or more the interval
is over runs, which is what a claim about a way of training needs; with fewer it is over episodes
and says only how well these very policies are known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .evaluation import ratio_interval
from .statistics import (
    Interval,
    StatisticsError,
    bootstrap,
    interquartile_mean,
    probability_of_improvement,
)

RUNS_LEAST = 3  # below which runs say nothing of their spread
_DRAWS = 1000  # of pairs of episodes, which are many


@dataclasses.dataclass(frozen=True)
class ArmScores:
    """What the runs of an arm scored."""

    name: str
    student: np.ndarray  # (runs, episodes)
    teacher: np.ndarray  # (runs, episodes), of each run's own teacher


@dataclasses.dataclass(frozen=True)
class ComparedArm:
    """One line of a comparison."""

    name: str
    runs: int
    episodes: int  # of each run
    over: Literal["runs", "episodes"]  # what the intervals are over
    score: Interval  # interquartile mean
    of_teacher: Interval  # student / teacher: of the runs' ratios, or of all episodes' means
    first_better: Interval | None  # P(first arm > this one); None for the first itself
    run_scores: tuple[float, ...]  # mean of each run


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Arms in the order given."""

    arms: tuple[ComparedArm, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return dataclasses.asdict(self)


def compare_arms(arms: Sequence[ArmScores], rng: np.random.Generator) -> Comparison:
    """Interquartile means, ratios to the teacher, and how often the first arm beats each other.

    Raises:
        StatisticsError: no arms, or scores that are not (runs, episodes).
    """
    if not arms:
        raise StatisticsError("there is nothing to compare; give at least one arm")
    for arm in arms:
        if arm.student.ndim != 2 or arm.student.shape != arm.teacher.shape:
            raise StatisticsError(
                f"{arm.name} has scores of shapes {arm.student.shape} and {arm.teacher.shape}; "
                "both must be (runs, episodes)"
            )
    return Comparison(
        tuple(
            _compared(arm, None if number == 0 else arms[0], rng) for number, arm in enumerate(arms)
        )
    )


def _compared(arm: ArmScores, first: ArmScores | None, rng: np.random.Generator) -> ComparedArm:
    by_run = arm.student.mean(axis=1)
    if _over(arm) == "runs":
        score = bootstrap(interquartile_mean, by_run[:, None], rng)
        ratios = by_run / np.maximum(arm.teacher.mean(axis=1), 1e-12)
        of_teacher = bootstrap(interquartile_mean, ratios[:, None], rng)
    else:  # every run is a stratum: episodes are drawn within it
        score = bootstrap(interquartile_mean, arm.student.T, rng)
        of_teacher = ratio_interval(arm.student.ravel(), arm.teacher.ravel(), rng)
    return ComparedArm(
        name=arm.name,
        runs=len(arm.student),
        episodes=arm.student.shape[1],
        over=_over(arm),
        score=score,
        of_teacher=of_teacher,
        first_better=None if first is None else _improvement(first, arm, rng),
        run_scores=tuple(by_run.tolist()),
    )


def _over(*arms: ArmScores) -> Literal["runs", "episodes"]:
    return "runs" if min(len(arm.student) for arm in arms) >= RUNS_LEAST else "episodes"


def _improvement(ours: ArmScores, theirs: ArmScores, rng: np.random.Generator) -> Interval:
    if _over(ours, theirs) == "runs":
        arms = [arm.student.mean(axis=1)[:, None] for arm in (ours, theirs)]
    else:
        arms = [arm.student.reshape(-1, 1) for arm in (ours, theirs)]

    def one_by_one(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        # Every pair of episodes of every draw at once would take gigabytes.
        if a.ndim == 2:
            return probability_of_improvement(a, b)
        return np.array([probability_of_improvement(x, y) for x, y in zip(a, b, strict=True)])

    return bootstrap(one_by_one, arms, rng, draws=_DRAWS)
