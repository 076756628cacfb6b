"""Honest statistics over few seeds (Agarwal et al. 2021): NumPy formulas, nothing else.

Scores are (runs, tasks), or (..., runs, tasks) where a function says so. A run is one seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ...hardware.errors import RetortError

Statistic = Callable[..., np.ndarray]  # one or more (..., runs, tasks) to (...)


class StatisticsError(RetortError):
    """Scores of a shape or content that a statistic cannot take."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


def normalised_ratio(
    student: np.ndarray, teacher: np.ndarray, random: np.ndarray | float
) -> np.ndarray:
    """``(S - J_0) / (T - J_0)``: 0 for a random policy, 1 for the teacher.

    Raises:
        StatisticsError: a teacher is no better than random, so that there is no scale.
    """
    gain = np.asarray(teacher, dtype=float) - random
    if not (gain > 0).all():
        raise StatisticsError(
            f"a teacher returns {np.min(gain):g} more than a random policy; it must be better, "
            "else the normalised ratio has no scale"
        )
    return (np.asarray(student, dtype=float) - random) / gain


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Element by element; NaN where the denominator is not above zero, since returns of another
    sign, or of none, have no ratio that means anything.
    """
    above = denominator > 0
    return np.where(above, numerator / np.where(above, denominator, 1.0), np.nan)


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Mean of the middle half of all runs of all tasks, (...) for (..., runs, tasks).

    Of n sorted scores ``floor(n / 4)`` fall away at either end. NaN where a score is.
    """
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    kept = flat[..., cut : flat.shape[-1] - cut].mean(-1)
    return np.where(np.isnan(flat[..., -1]), np.nan, kept)  # which sorting puts last


def mean(scores: np.ndarray) -> np.ndarray:
    """Mean of the tasks' means, (...) for (..., runs, tasks)."""
    return scores.mean((-2, -1))


def probability_of_improvement(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """``P(X > Y) + P(X = Y) / 2`` of a run of either, averaged over tasks (Mann-Whitney U), (...).

    Args:
        ours: (..., runs, tasks).
        theirs: (..., other runs, tasks), the same tasks.
    """
    difference = ours[..., :, None, :] - theirs[..., None, :, :]
    return (np.sign(difference).mean((-3, -2, -1)) + 1.0) / 2.0


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of all runs above each threshold, (..., thresholds) for (..., runs, tasks)."""
    flat = np.sort(scores.reshape(-1, scores.shape[-2] * scores.shape[-1]), axis=-1)
    below = np.stack([np.searchsorted(row, thresholds, side="right") for row in flat])
    return (1.0 - below / flat.shape[-1]).reshape(*scores.shape[:-2], len(thresholds))


def bootstrap(
    statistic: Statistic,
    scores: np.ndarray | Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    paired: bool = False,
    draws: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """A statistic with its stratified percentile bootstrap interval.

    Runs are drawn again with replacement within every task by itself. Several arms that ran the
    same seeds are ``paired``: they are drawn alike, so that what a seed does to all of them falls
    out of their difference.

    Args:
        statistic: one argument (..., runs, tasks) per arm, gives (...).
        scores: (runs, tasks), or one such per arm.
        rng: of the draws.
        paired: run i of one arm had the seed of run i of the others.
        draws: bootstrap samples.
        confidence: share of them within the interval.

    Raises:
        StatisticsError: scores that are not (runs, tasks) or not finite, or unequal numbers of
            tasks, or of paired runs.
    """
    arms = [scores] if isinstance(scores, np.ndarray) else list(scores)
    _check(arms, paired)
    values = np.empty(draws)
    step = max(1, 2_000_000 // max(arm.size for arm in arms))  # bounds the memory
    for begin in range(0, draws, step):
        count = min(step, draws - begin)
        drawn, picks = [], None
        for arm in arms:
            if picks is None or not paired:
                picks = rng.integers(len(arm), size=(count, *arm.shape))
            drawn.append(arm[picks, np.arange(arm.shape[1])])
        values[begin : begin + count] = statistic(*drawn)
    low, high = np.quantile(values, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(float(statistic(*arms)), float(low), float(high))


def bootstrap_ratio(
    statistic: Statistic,
    scores: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    draws: int = 10_000,
) -> Interval | None:
    """``bootstrap`` of paired arms for a statistic made with ``ratio``.

    None where it is undefined: for the scores themselves, or for any draw, since an interval with
    a pole in it says nothing.
    """
    found = bootstrap(statistic, scores, rng, paired=True, draws=draws)
    return None if np.isnan([found.value, found.low, found.high]).any() else found


def bootstrap_profile(
    scores: np.ndarray,
    thresholds: np.ndarray,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
    confidence: float = 0.95,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A performance profile with its pointwise stratified bootstrap band, (thresholds,) each."""
    _check([scores], paired=False)
    picks = rng.integers(len(scores), size=(draws, *scores.shape))
    profiles = performance_profile(scores[picks, np.arange(scores.shape[1])], thresholds)
    low, high = np.quantile(profiles, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0], axis=0)
    return performance_profile(scores, thresholds), low, high


def steps_to_reach(
    steps: np.ndarray, scores: np.ndarray, target: float, *, passes: int = 1
) -> float:
    """Steps after which a run first reached ``target``; infinity if it never did.

    Args:
        steps: (evaluations,) rising.
        scores: (evaluations,) of the same run.
        target: reached at or above.
        passes: successive evaluations that must reach it; the first of them counts.
    """
    passed = np.asarray(scores) >= target
    if len(passed) < passes:
        return float("inf")
    streak = np.lib.stride_tricks.sliding_window_view(passed, passes).all(axis=-1)
    return float(steps[int(streak.argmax())]) if streak.any() else float("inf")


@dataclasses.dataclass(frozen=True)
class Reach:
    """How long runs took to reach a target, runs that did not being censored at their budget."""

    runs: int
    reached: int
    median: float  # Kaplan-Meier; infinite if no more than half are known to have reached it
    median_at_least: float  # the median if all that are censored had reached it at their budget
    low: float  # 95 % bootstrap interval of the median, runs drawn whole
    high: float
    restricted_mean: float  # of min(time, least budget): a lower bound of the mean


def summarise_reach(
    reached_at: np.ndarray,
    budget: np.ndarray | float,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
) -> Reach:
    """Censored summary of ``steps_to_reach`` over runs.

    Args:
        reached_at: (runs,) steps or seconds, infinite where the target was not reached.
        budget: what every run, or each, was given.
        rng: of the bootstrap.
        draws: bootstrap samples.

    Raises:
        StatisticsError: no runs, or one that reached the target after its budget.
    """
    times = np.asarray(reached_at, dtype=float)
    limits = np.broadcast_to(np.asarray(budget, dtype=float), times.shape)
    if times.ndim != 1 or not len(times):
        raise StatisticsError(f"got times of shape {times.shape}; use one time per run")
    hit = np.isfinite(times)
    if (times[hit] > limits[hit]).any():
        raise StatisticsError("a run reached its target after its budget; censor it there")
    seen = np.where(hit, times, limits)
    picks = rng.integers(len(times), size=(draws, len(times)))
    medians = np.array([_median_survival(seen[pick], hit[pick]) for pick in picks])
    # Quantiles of numbers some of which are infinite: by rank, never between two of them.
    low, high = np.quantile(medians, [0.025, 0.975], method="inverted_cdf")
    return Reach(
        runs=len(times),
        reached=int(hit.sum()),
        median=_median_survival(seen, hit),
        median_at_least=float(np.median(seen)),
        low=float(low),
        high=float(high),
        restricted_mean=float(np.minimum(seen, limits.min()).mean()),
    )


def _median_survival(seen: np.ndarray, hit: np.ndarray) -> float:
    """First time at which the Kaplan-Meier share of runs still on their way is below half.

    Where the share is exactly half for a while, the middle of that while, which is ``np.median``
    if nothing is censored; infinite where it is half to the end, since nobody saw the while end.
    """
    # At equal times those that reached it come first: the censored were still at risk then.
    order = np.lexsort((~hit, seen))
    seen, hit = seen[order], hit[order]
    at_risk = np.arange(len(seen), 0, -1)
    survival = np.cumprod(1.0 - hit / at_risk)
    begins, ends = (_first(seen, survival < 0.5 + slack) for slack in (1e-12, -1e-12))
    return (begins + ends) / 2.0


def _first(times: np.ndarray, passed: np.ndarray) -> float:
    return float(times[int(passed.argmax())]) if passed.any() else float("inf")


def _check(arms: Sequence[np.ndarray], paired: bool) -> None:
    shapes = [arm.shape for arm in arms]
    if any(arm.ndim != 2 or not arm.size for arm in arms):
        raise StatisticsError(f"got scores of shape {shapes}; use (runs, tasks)")
    if len({shape[1] for shape in shapes}) > 1:
        raise StatisticsError(f"got scores of shape {shapes}; the tasks must be the same")
    if paired and len({shape[0] for shape in shapes}) > 1:
        raise StatisticsError(f"got scores of shape {shapes}; paired arms have equal runs")
    if not all(np.isfinite(arm).all() for arm in arms):
        raise StatisticsError(
            "a score is not finite; a run that failed needs a score it deserves, not none"
        )
