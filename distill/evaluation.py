"""Held-out evaluation: the same episodes for every policy, returns with intervals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from ..sim.env import RobotEnv
from .rollout import Actor


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
    """What one policy did on a set of episodes."""

    score: np.ndarray  # (episodes,) mean reward per tick of the full time, nothing after a fall
    fell: np.ndarray  # (episodes,) bool
    tracking_rmse: np.ndarray  # (commands,) root mean square error while standing


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
    squares, ticks = np.zeros(len(env.task.command)), 0.0
    for _ in range(env.episode_ticks):
        groups = {g: torch.from_numpy(info[g]) for g in ("student", "teacher")}
        action, _, state = actor(groups, state, reset)
        reset = torch.zeros(n, dtype=torch.bool)
        _, _, terminated, _, info = env.step(action.numpy())
        fell |= terminated
        error = (info["tracking"] - info["command"])[~fell]
        squares += (error**2).sum(axis=0)
        ticks += len(error)
    rmse = np.sqrt(squares / max(ticks, 1.0))
    return Outcome(env.score / env.episode_ticks, fell, rmse)


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
    env: RobotEnv, teacher: Actor, student: Actor, *, level: int, seed: int
) -> dict[str, Any]:
    """Teacher and student on the same episodes, as one row of ``evaluation.json``."""
    rng = np.random.default_rng(seed)
    outcomes = {"teacher": run_episodes(env, teacher, seed)}
    outcomes["student"] = run_episodes(env, student, seed)
    row: dict[str, Any] = {
        "level": level,
        "episodes": env.num_envs,
        "seconds": env.episode_ticks * env.contract.period,
    }
    for name, outcome in outcomes.items():
        low, high = bootstrap_mean(outcome.score, rng)
        row[name] = {
            "score": float(outcome.score.mean()),
            "score_low": low,
            "score_high": high,
            "falls": int(outcome.fell.sum()),
            **{
                f"{spec.name}_rmse": float(error)
                for spec, error in zip(env.task.command, outcome.tracking_rmse, strict=True)
            },
        }
    student_score, teacher_score = outcomes["student"].score, outcomes["teacher"].score
    low, high = bootstrap_ratio(student_score, teacher_score, rng)
    value = float(student_score.mean() / max(teacher_score.mean(), 1e-12))
    row["ratio"] = {"value": value, "low": low, "high": high}
    return row
