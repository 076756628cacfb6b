"""Any number of arms compared on the same held-out episodes, with honest intervals.

An arm is one way of training, tried with one seed or several. What a run scored is the plain mean
of its episodes, so that every fall counts; the interquartile mean is over runs. With three runs or
more the interval is over runs too, which is what a claim about a way of training needs; with fewer
it is over the episodes within each run and says only how well these very policies are known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .statistics import (
    Interval,
    StatisticsError,
    bootstrap,
    bootstrap_profile,
    bootstrap_ratio,
    interquartile_mean,
    normalised_ratio,
    probability_of_improvement,
    ratio,
)

RUNS_LEAST = 3  # below which runs say nothing of their spread
_DRAWS = 1000  # of pairs of episodes, which are many
_THRESHOLDS = 101  # of a profile

Over = Literal["runs", "episodes"]


@dataclasses.dataclass(frozen=True)
class ArmScores:
    """What the runs of an arm scored, (runs, episodes) each."""

    name: str
    student: np.ndarray
    teacher: np.ndarray  # of each run's own teacher
    random: np.ndarray  # of a random policy


@dataclasses.dataclass(frozen=True)
class ComparedArm:
    """One line of a comparison: interquartile means over runs, of whose scores are plain means."""

    name: str
    runs: int
    episodes: int  # of each run
    over: Over  # what the intervals are over
    score: Interval
    of_teacher: Interval | None  # S / T of each run; None where a teacher is not surely above 0
    normalised: Interval | None  # (S - J_0) / (T - J_0); None where one is not above J_0
    difference: Interval  # S - T
    first_better: Interval | None  # P(first arm > this one); None for the first itself
    run_scores: tuple[float, ...]  # mean of each run


@dataclasses.dataclass(frozen=True)
class Profile:
    """Share of an arm's runs, or of its episodes, above each threshold, with its 95 % band."""

    name: str
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Profiles:
    """Performance profiles of all arms over the same thresholds."""

    of: Literal["normalised", "score"]  # the plain score where a normalised one is undefined
    over: Over
    thresholds: tuple[float, ...]
    arms: tuple[Profile, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Arms in the order given."""

    arms: tuple[ComparedArm, ...]
    profiles: Profiles

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return dataclasses.asdict(self)


def compare_arms(arms: Sequence[ArmScores], rng: np.random.Generator) -> Comparison:
    """Scores, ratios to the teacher, how often the first arm beats each other, and profiles.

    Raises:
        StatisticsError: no arms, or scores that are not (runs, episodes).
    """
    if not arms:
        raise StatisticsError("there is nothing to compare; give at least one arm")
    for arm in arms:
        shapes = [scores.shape for scores in (arm.student, arm.teacher, arm.random)]
        if arm.student.ndim != 2 or len(set(shapes)) > 1:
            raise StatisticsError(
                f"{arm.name} has scores of shapes {', '.join(map(str, shapes))}; all must be "
                "(runs, episodes)"
            )
    compared = tuple(
        _compared(arm, None if number == 0 else arms[0], rng) for number, arm in enumerate(arms)
    )
    return Comparison(compared, _profiles(arms, rng))


def _compared(arm: ArmScores, first: ArmScores | None, rng: np.random.Generator) -> ComparedArm:
    over = _over(arm)
    drawn = [_strata(scores, over) for scores in (arm.student, arm.teacher, arm.random)]
    student, teacher, _ = drawn

    def score(s: np.ndarray) -> np.ndarray:
        return interquartile_mean(_by_run(s, over))

    def of_teacher(s: np.ndarray, t: np.ndarray) -> np.ndarray:
        return interquartile_mean(ratio(_by_run(s, over), _by_run(t, over)))

    def normalised(s: np.ndarray, t: np.ndarray, j0: np.ndarray) -> np.ndarray:
        base = _by_run(j0, over)
        return interquartile_mean(ratio(_by_run(s, over) - base, _by_run(t, over) - base))

    return ComparedArm(
        name=arm.name,
        runs=len(arm.student),
        episodes=arm.student.shape[1],
        over=over,
        score=bootstrap(score, student, rng),
        of_teacher=bootstrap_ratio(of_teacher, [student, teacher], rng),
        normalised=bootstrap_ratio(normalised, drawn, rng),
        difference=bootstrap(score, student - teacher, rng),
        first_better=None if first is None else _improvement(first, arm, rng),
        run_scores=tuple(arm.student.mean(axis=1).tolist()),
    )


def _over(*arms: ArmScores) -> Over:
    return "runs" if min(len(arm.student) for arm in arms) >= RUNS_LEAST else "episodes"


def _strata(scores: np.ndarray, over: Over) -> np.ndarray:
    """What is drawn from: means of runs (runs, 1), or episodes within each run (episodes, runs)."""
    return scores.mean(axis=1)[:, None] if over == "runs" else scores.T


def _by_run(drawn: np.ndarray, over: Over) -> np.ndarray:
    """Mean of each run, (..., runs, 1), of what was drawn from ``_strata``."""
    return drawn if over == "runs" else drawn.mean(-2)[..., None]


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


def _profiles(arms: Sequence[ArmScores], rng: np.random.Generator) -> Profiles:
    over = _over(*arms)  # one kind in one figure
    try:
        scores = [
            normalised_ratio(
                arm.student,
                arm.teacher.mean(axis=1, keepdims=True),
                arm.random.mean(axis=1, keepdims=True),
            )
            for arm in arms
        ]
        of: Literal["normalised", "score"] = "normalised"
    except StatisticsError:  # a teacher no better than random
        scores, of = [arm.student for arm in arms], "score"
    drawn = [_strata(each, over) for each in scores]
    low, high = (float(end([end(each) for each in drawn])) for end in (np.min, np.max))
    if of == "normalised":  # from random to the teacher at least
        low, high = min(low, 0.0), max(high, 1.0)
    thresholds = np.linspace(low, high, _THRESHOLDS)
    made = []
    for arm, each in zip(arms, drawn, strict=True):
        bands = bootstrap_profile(each, thresholds, rng, draws=_DRAWS)
        made.append(Profile(arm.name, *(tuple(values.tolist()) for values in bands)))
    return Profiles(of, over, tuple(thresholds.tolist()), tuple(made))
