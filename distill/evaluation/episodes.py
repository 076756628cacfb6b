"""Held-out evaluation: the same episodes for every policy, of any ``LearningEnv``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from ...hardware.checks import SECONDS, SEED, RangeError, between, check_fields
from ...sim.env import RobotEnv
from ...sim.interface import LearningEnv
from .. import networks
from ..sources.rollout import Actor, one_thread
from ..students import Student
from .statistics import Interval, bootstrap, bootstrap_ratio, mean, ratio

_TRAINED = 4  # seeds that training uses, from the recipe's own on
_COUNTED = range(-1, 1200)  # what is added to ``EvaluationConfig.seed``, by whatever measures


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Episodes per level; ``check_held_out`` says whether training has met them."""

    seed: int = 1_000_003
    episodes: int = 50
    seconds: float = 10.0
    hardest_episodes: int = 500
    hardest_seconds: float = 20.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            seed=between(1, SEED.high),
            episodes=between(1, 100_000),
            seconds=SECONDS,
            hardest_episodes=between(1, 100_000),
            hardest_seconds=SECONDS,
        )

    def check_held_out(self, trained: int) -> None:
        """Training with the seed ``trained`` has drawn none of these episodes.

        Raises:
            RangeError: the two count over the same seeds.
        """
        low, high = trained - _COUNTED.stop + 1, trained + _TRAINED - _COUNTED.start - 1
        if low <= self.seed <= high:
            raise RangeError(
                f"evaluation.seed is {self.seed}, and training with seed {trained} met "
                f"episodes counted from it; use more than {high}, so that they are held out"
            )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one policy did on a set of episodes; a slice of it is one too.

    Tasks without commands have no columns in ``squared_error``.
    """

    returns: np.ndarray  # (episodes,) sum of rewards
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


Measure = Callable[[], Outcome]
Reuse = Callable[[str, Measure], Outcome]  # the outcome of a name, measured if it must be


def anew(name: str, measure: Measure) -> Outcome:
    """A ``Reuse`` that reuses nothing; ``outcomes.Outcomes`` is one that does."""
    return measure()


def run_episodes(env: LearningEnv, actor: Actor, seed: int) -> Outcome:
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
    commands = len(_commands(env))
    squares, standing = np.zeros((n, commands)), np.zeros(n)
    with one_thread():
        for _ in range(env.episode_ticks):
            groups = {group: torch.from_numpy(info[group]) for group in env.groups}
            action, _, state = actor(groups, state, reset)
            reset = torch.zeros(n, dtype=torch.bool)
            _, _, terminated, truncated, info = env.step(action.numpy())
            fell |= terminated
            if commands:
                error = (info["tracking"] - info["command"]) ** 2
                squares += np.where(fell[:, None], 0.0, error)
            standing += ~fell
            if (terminated | truncated).all():
                break
    returns = env.score.astype(np.float64)
    return Outcome(returns, returns / env.episode_ticks, fell, squares, standing)


def actor_of(policy: networks.Actor | Student, group: str = "teacher") -> Actor:
    """A policy acting by the mode of its distribution, as it is deployed.

    Args:
        policy: an actor, or a student, which sees its own group and keeps its own state.
        group: of observations that an actor sees.
    """

    @torch.no_grad()
    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> tuple[Any, Any, Tensor]:
        if not isinstance(policy, Student):
            return policy(groups[group]).mode(), None, state
        if state.shape[1] != policy.state_size:  # an episode begins: nobody knew what is kept
            state = policy.initial_state(len(reset))
        distribution, state = policy(groups["student"][None], state, reset[None])
        return distribution.mode()[0], None, state

    return act


def random_actor(env: LearningEnv, generator: torch.Generator) -> Actor:
    """Uniform actions in the box that ``env`` takes, or among its choices."""
    space = env.single_action_space
    if isinstance(space, Discrete):
        choices = int(space.n)
        return _acting(lambda n: torch.randint(choices, (n,), generator=generator))
    assert isinstance(space, Box)
    low, high = (torch.from_numpy(bound) for bound in (space.low, space.high))
    return _acting(lambda n: low + (high - low) * torch.rand(n, len(low), generator=generator))


def _acting(draw: Callable[[int], Tensor]) -> Actor:
    """An actor that looks at nothing; ``draw`` gives the actions of n environments."""

    def act(groups: dict[str, Tensor], state: Tensor, reset: Tensor) -> tuple[Any, Any, Tensor]:
        return draw(len(reset)), None, state

    return act


def random_scores(make_env: Callable[[float], LearningEnv], levels: int, seed: int) -> np.ndarray:
    """Score of ``random_actor`` at each level of a curriculum, J_0, (levels + 1,).

    Args:
        make_env: environments at a difficulty in [0, 1], made with ``autoreset=False``.
        levels: the hardest; 0 is the easiest, and the only one where there are no axes.
        seed: of the episodes at level 0; one more for each level.
    """
    scores = []
    for level in range(levels + 1):
        env = make_env(level / max(levels, 1))
        actor = random_actor(env, torch.Generator().manual_seed(level))
        scores.append(run_episodes(env, actor, seed + level).score.mean())
    return np.array(scores)


def mean_interval(values: np.ndarray, rng: np.random.Generator) -> Interval:
    """Mean over episodes (episodes,) with its 95 % bootstrap interval."""
    return bootstrap(mean, values[:, None], rng)


def ratio_interval(
    ours: np.ndarray,
    theirs: np.ndarray,
    rng: np.random.Generator,
    *,
    chance: np.ndarray | None = None,
) -> Interval | None:
    """Ratio of two means over the same episodes, (episodes,) each, drawn together.

    None where it is undefined: their mean is not surely above zero.

    Args:
        ours, theirs: (episodes,).
        rng: of the draws.
        chance: (episodes,) of a random policy. With it the ratio is the normalised one,
            ``(S - J_0) / (T - J_0)``, and zero is what that policy returns.
    """
    base = np.zeros_like(theirs) if chance is None else chance

    def share(s: np.ndarray, t: np.ndarray, j0: np.ndarray) -> np.ndarray:
        return ratio(mean(s) - mean(j0), mean(t) - mean(j0))

    return bootstrap_ratio(share, [arm[:, None] for arm in (ours, theirs, base)], rng)


def compare(
    env: LearningEnv,
    teacher: Actor,
    student: Actor,
    groups: list[tuple[int, slice]],
    seed: int,
    *,
    reuse: Reuse = anew,
) -> list[dict[str, Any]]:
    """Teacher and student on the same episodes, as rows of ``evaluation.json``.

    A row has the student's share of the teacher's score (``ratio``), the share of what the teacher
    has beyond a random policy (``normalised``), either None where it is undefined, and the
    ``difference`` of their scores.

    Args:
        env: made with ``autoreset=False``.
        teacher, student: act by their means.
        groups: level and environments of each row.
        seed: of the episodes.
        reuse: what of it was measured before.
    """
    chance = random_actor(env, torch.Generator().manual_seed(seed))
    taught, learnt, drawn = (
        reuse(f"{name}, seed {seed}", lambda actor=actor: run_episodes(env, actor, seed))
        for name, actor in (("teacher", teacher), ("student", student), ("random", chance))
    )
    rng = np.random.default_rng(seed)
    seconds, names = env.episode_ticks * env.period, _commands(env)
    rows = []
    for level, part in groups:
        pair = {"teacher": taught[part], "student": learnt[part]}
        row: dict[str, Any] = {
            "level": level,
            "episodes": len(pair["teacher"].score),
            "seconds": seconds,
        }
        for who, outcome in pair.items():
            score = mean_interval(outcome.score, rng)
            errors = outcome.tracking_rmse.tolist()
            row[who] = {
                "score": score.value,
                "score_low": score.low,
                "score_high": score.high,
                "falls": int(outcome.fell.sum()),
                **{f"{name}_rmse": e for name, e in zip(names, errors, strict=True)},
            }
        ours, theirs, base = pair["student"].score, pair["teacher"].score, drawn[part].score
        row["random"] = {"score": float(base.mean())}
        for name, found in (
            ("ratio", ratio_interval(ours, theirs, rng)),
            ("normalised", ratio_interval(ours, theirs, rng, chance=base)),
            ("difference", mean_interval(ours - theirs, rng)),
        ):
            row[name] = None if found is None else dataclasses.asdict(found)
        rows.append(row)
    return rows


def _commands(env: LearningEnv) -> list[str]:
    """Names of what is commanded; of nothing but robots."""
    return [spec.name for spec in env.task.command] if isinstance(env, RobotEnv) else []
