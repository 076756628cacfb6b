"""One stretch of experience, time-major: what a source yields and a learner takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from .teachers import TeacherOutput

STUDENT, TEACHER = 0, 1  # who acted


@dataclasses.dataclass
class Batch:
    """``T`` ticks of ``N`` environments.

    ``final_*`` are sparse: one row per episode that ended, at the ticks and environments of
    ``final_index``; they are what a value at a time-out is bootstrapped from.
    """

    observations: dict[str, Tensor]  # group ("student", "teacher"): (T, N, size)
    action: Tensor  # (T, N, actions), before clipping
    log_prob: Tensor  # (T, N) of ``action`` under whoever acted
    driver: Tensor  # (N,) STUDENT or TEACHER: who acts in each environment
    reward: Tensor  # (T, N)
    terminated: Tensor  # (T, N) bool
    truncated: Tensor  # (T, N) bool
    reset: Tensor  # (T, N) bool: the observation is the first of an episode
    final_index: Tensor  # (K, 2) tick and environment
    final_observations: dict[str, Tensor]  # group: (K, size)
    last_observations: dict[str, Tensor]  # group: (N, size), after the last tick
    initial_state: Tensor  # (N, hidden) of the student before the first tick; (N, 0) if memoryless
    level: Tensor  # (T, N, axes) difficulty of the running episode
    task: Tensor  # (T, N) int64: which of several tasks
    episodes: Episodes
    labels: tuple[TeacherOutput, ...] | None = None  # what teachers said, where it was recorded
    # (N, size) each: what teachers remembered before the first tick, where it is known.
    teacher_states: tuple[Tensor, ...] | None = None

    def columns(self, chosen: Tensor) -> Batch:
        """The part of some environments, ``chosen`` (N,) bool; episodes are left out."""
        ids = chosen.nonzero().squeeze(-1)
        position = torch.full((len(chosen),), -1)
        position[ids] = torch.arange(len(ids))
        tick, env = self.final_index.unbind(-1)
        ended = chosen[env]
        labels, states = self.labels, self.teacher_states
        part = (slice(None), ids)
        return Batch(
            observations={group: rows[:, ids] for group, rows in self.observations.items()},
            action=self.action[:, ids],
            log_prob=self.log_prob[:, ids],
            driver=self.driver[ids],
            reward=self.reward[:, ids],
            terminated=self.terminated[:, ids],
            truncated=self.truncated[:, ids],
            reset=self.reset[:, ids],
            final_index=torch.stack([tick[ended], position[env[ended]]], dim=-1),
            final_observations={g: rows[ended] for g, rows in self.final_observations.items()},
            last_observations={g: rows[ids] for g, rows in self.last_observations.items()},
            initial_state=self.initial_state[ids],
            level=self.level[:, ids],
            task=self.task[:, ids],
            episodes=no_episodes(self.episodes.running.shape[1]),
            labels=None if labels is None else tuple(said.select(part) for said in labels),
            teacher_states=None if states is None else tuple(state[ids] for state in states),
        )

    @property
    def ticks(self) -> int:
        return self.reward.shape[0]

    @property
    def num_envs(self) -> int:
        return self.reward.shape[1]


@dataclasses.dataclass
class Episodes:
    """Whole episodes that ended within a batch."""

    env: Tensor  # (K,)
    score: Tensor  # (K,) mean reward per tick of the full time, nothing after a fall
    fell: Tensor  # (K,) bool
    running: Tensor  # (K, k) what the curriculum said of it when it began


def no_episodes(width: int = 0) -> Episodes:
    """Nothing ended; ``width`` numbers would have been said of each."""
    nothing = torch.zeros(0)
    running = torch.zeros(0, width, dtype=torch.int64)
    return Episodes(nothing.long(), nothing, nothing.bool(), running)


def advantages(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    final_value: Tensor,
    *,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimation with the value at a time-out bootstrapped.

    ``delta_t = r_t + gamma v_{t+1} - v_t``, ``A_t = delta_t + gamma lam A_{t+1}``, where v_{t+1} is
    0 after a termination and the value of the *final* observation after a truncation, and the
    sum is cut at both (Schulman et al. 2016; Pardo et al. 2018).

    Args:
        reward, value, terminated, truncated: (T, N).
        next_value: (N,) value after the last tick.
        final_value: (T, N) value of the final observation where truncated, anything elsewhere.

    Returns:
        (T, N).
    """
    result = torch.zeros_like(reward)
    running = torch.zeros_like(next_value)
    following = next_value
    for t in reversed(range(reward.shape[0])):
        bootstrap = torch.where(truncated[t], final_value[t], following)
        bootstrap = torch.where(terminated[t], torch.zeros_like(bootstrap), bootstrap)
        going_on = (~(terminated[t] | truncated[t])).to(reward.dtype)
        delta = reward[t] + gamma * bootstrap - value[t]
        running = delta + gamma * lam * going_on * running
        result[t] = running
        following = value[t]
    return result


def critic_advantages(
    batch: Batch, reward: Tensor, critic: Callable[[Tensor], Tensor], *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """``advantages`` of a whole batch by a critic on its ``teacher`` observations.

    Args:
        reward: (T, N) what is learnt from, which need not be the batch's own.
        critic: observations (..., size) to values (...).

    Returns:
        Advantages and lambda-returns (advantage + value), (T, N) each.
    """
    value = critic(batch.observations["teacher"])
    advantage = advantages(
        reward,
        value,
        critic(batch.last_observations["teacher"]),
        batch.terminated,
        batch.truncated,
        spread(batch, critic(batch.final_observations["teacher"])),
        gamma=gamma,
        lam=lam,
    )
    return advantage, advantage + value


def spread(batch: Batch, rows: Tensor) -> Tensor:
    """Put one number per ended episode, (K,), at its tick and environment, (T, N)."""
    result = torch.zeros_like(batch.reward)
    result[batch.final_index[:, 0], batch.final_index[:, 1]] = rows
    return result
