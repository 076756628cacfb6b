"""Held-out evaluation: the same episodes for every policy, returns with intervals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from ..sim.env import RobotEnv
from .rollout import Actor, one_thread


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Episodes per level; seeds are never those of training."""

    seed: int = 1_000_003
    episodes: int = 50
    seconds: float = 10.0
    hardest_episodes: int = 500
    hardest_seconds: float = 20.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one policy did on a set of episodes; a slice of it is one too."""

    score: np.ndarray  # (episodes,) mean reward per tick of the full time, nothing after a fall
    fell: np.ndarray  # (episodes,) bool
    squared_error: np.ndarray  # (episodes, commands) summed over ticks while standing
    standing: np.ndarray  # (episodes,) ticks

    def __getitem__(self, rows: slice) -> Outcome:
        return Outcome(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    @property
    def tracking_rmse(self) -> np.ndarray:
        """Root mean square error of each command component while standing, (commands,)."""
        return np.sqrt(self.squared_error.sum(axis=0) / max(float(self.standing.sum()), 1.0))


def run_episodes(env: RobotEnv, actor: Actor, seed: int) -> Outcome:
    """One episode in every environment, which must not reset by itself.

    Args:
        env: made with ``autoreset=False``.
        actor: acts on ``(groups, state, reset)``; its state starts as zeros of size 0.
        seed: of the episodes; the same for every policy that is compared.
    """
    if env.autoreset:
        raise ValueError("evaluation needs an environment made with autoreset=False")
    _, info = env.reset(seed=seed)
    n = env.num_envs
    state, reset = torch.zeros(n, 0), torch.ones(n, dtype=torch.bool)
    fell = np.zeros(n, dtype=bool)
    squares, standing = np.zeros((n, len(env.task.command))), np.zeros(n)
    with one_thread():
        for _ in range(env.episode_ticks):
            groups = {g: torch.from_numpy(info[g]) for g in ("student", "teacher")}
            action, _, state = actor(groups, state, reset)
            reset = torch.zeros(n, dtype=torch.bool)
            _, _, terminated, _, info = env.step(action.numpy())
            fell |= terminated
            squares += np.where(fell[:, None], 0.0, (info["tracking"] - info["command"]) ** 2)
            standing += ~fell
    return Outcome(env.score / env.episode_ticks, fell, squares, standing)


def bootstrap_mean(
    values: np.ndarray, rng: np.random.Generator, draws: int = 4000
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean."""
    picks = rng.integers(0, len(values), (draws, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def bootstrap_ratio(
    numerator: np.ndarray, denominator: np.ndarray, rng: np.random.Generator, draws: int = 4000
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a ratio of means over paired episodes."""
    picks = rng.integers(0, len(numerator), (draws, len(numerator)))
    ratios = numerator[picks].mean(axis=1) / np.maximum(denominator[picks].mean(axis=1), 1e-12)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


def compare(
    env: RobotEnv, teacher: Actor, student: Actor, groups: list[tuple[int, slice]], seed: int
) -> list[dict[str, Any]]:
    """Teacher and student on the same episodes, as rows of ``evaluation.json``.

    Args:
        env: made with ``autoreset=False``.
        teacher, student: act by their means.
        groups: level and environments of each row.
        seed: of the episodes.
    """
    taught, learnt = (run_episodes(env, actor, seed) for actor in (teacher, student))
    rng = np.random.default_rng(seed)
    seconds = env.episode_ticks * env.contract.period
    names = [spec.name for spec in env.task.command]
    rows = []
    for level, part in groups:
        pair = {"teacher": taught[part], "student": learnt[part]}
        row: dict[str, Any] = {
            "level": level,
            "episodes": len(pair["teacher"].score),
            "seconds": seconds,
        }
        for who, outcome in pair.items():
            low, high = bootstrap_mean(outcome.score, rng)
            errors = outcome.tracking_rmse.tolist()
            row[who] = {
                "score": float(outcome.score.mean()),
                "score_low": low,
                "score_high": high,
                "falls": int(outcome.fell.sum()),
                **{f"{name}_rmse": e for name, e in zip(names, errors, strict=True)},
            }
        ours, theirs = pair["student"].score, pair["teacher"].score
        low, high = bootstrap_ratio(ours, theirs, rng)
        value = float(ours.mean() / max(theirs.mean(), 1e-12))
        row["ratio"] = {"value": value, "low": low, "high": high}
        rows.append(row)
    return rows
