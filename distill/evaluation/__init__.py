"""Evaluation: held-out episodes, statistics, comparisons, forgetting, noise and attack."""

from .episodes import (
    EvaluationConfig,
    Measure,
    Outcome,
    Reuse,
    actor_of,
    anew,
    compare,
    mean_interval,
    random_actor,
    random_scores,
    ratio_interval,
    run_episodes,
)

__all__ = [
    "EvaluationConfig",
    "Measure",
    "Outcome",
    "Reuse",
    "actor_of",
    "anew",
    "compare",
    "mean_interval",
    "random_actor",
    "random_scores",
    "ratio_interval",
    "run_episodes",
]
