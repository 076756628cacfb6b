"""How long a policy needs after a switch of the dynamics: reward rates over windows of time.

A policy's own steady state is its mean reward rate over all episodes that still stand at the
switch: in whole windows from ``settling`` to the switch or, where what an episode asks for changes
with time, in each window of the same episodes without the switch. It has recovered in the first of
two successive windows that reach ``TARGET`` of that if it keeps to it in the mean from there on, so
that a weak policy is not punished for being weak, only for being thrown off, at once or little by
little. Whoever falls after the switch earns nothing from there on, and who never recovers is
censored at the end of the episode.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from ...sim.interface import LearningEnv
from ..evaluation.statistics import StatisticsError, summarise_reach
from ..sources.rollout import Actor, one_thread

WINDOW = 0.5  # [s] a few strides
TARGET = 0.9  # of the policy's own steady rate


@dataclasses.dataclass(frozen=True)
class Trace:
    """Rewards of episodes with a switch at the same tick of each."""

    reward: np.ndarray  # (ticks, episodes), nothing after a fall
    fell_at: np.ndarray  # (episodes,) tick of the fall, that of the end for who stood
    period: float  # [s] of one tick
    switch_tick: int  # the first tick under the new dynamics

    def whole_ticks(self, window: float) -> float:
        """``window`` [s] rounded to ticks, one at least: as long as windows of it really are."""
        return max(1, round(window / self.period)) * self.period


def trace_rewards(env: LearningEnv, actor: Actor, seed: int, switch_time: float) -> Trace:
    """One episode in every environment, tick by tick.

    Args:
        env: made with ``autoreset=False`` and a switch at ``switch_time``.
        actor: as ``evaluation.run_episodes`` takes it.
        seed: of the episodes; the same for every policy that is compared.
        switch_time: [s] from the start of the episode.

    Raises:
        ValueError: an environment that resets by itself, or no tick before or after the switch.
    """
    if env.autoreset:
        raise ValueError("a trace needs an environment made with autoreset=False")
    tick = round(switch_time / env.period)
    if not 0 < tick < env.episode_ticks:
        raise ValueError(
            f"the switch at {switch_time:g} s is not within the episode of "
            f"{env.episode_ticks * env.period:g} s; move it or make the episode longer"
        )
    _, info = env.reset(seed=seed)
    n = env.num_envs
    state, reset = torch.zeros(n, 0), torch.ones(n, dtype=torch.bool)
    rewards = np.zeros((env.episode_ticks, n))
    fell_at = np.full(n, env.episode_ticks)
    with one_thread():
        for t in range(env.episode_ticks):
            groups = {group: torch.from_numpy(info[group]) for group in env.groups}
            action, _, state = actor(groups, state, reset)
            reset = torch.zeros(n, dtype=torch.bool)
            _, rewards[t], terminated, truncated, info = env.step(action.numpy())
            fell_at = np.where(terminated, np.minimum(fell_at, t), fell_at)
            if (terminated | truncated).all():
                break
    return Trace(rewards, fell_at, env.period, tick)


def window_rates(trace: Trace, window: float = WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """Reward per second in windows side by side, counted from the switch in both directions.

    Args:
        trace: of a policy.
        window: [s], rounded to ticks.

    Returns:
        Rates before the switch (windows, episodes), the latest last, and after it, the first first.
        Ticks that fill no window are left out.

    Raises:
        StatisticsError: no whole window before or after the switch.
    """
    window = trace.whole_ticks(window)
    ticks = round(window / trace.period)
    before, after = trace.reward[: trace.switch_tick], trace.reward[trace.switch_tick :]
    if len(before) < ticks or len(after) < ticks:
        raise StatisticsError(
            f"a window of {window:g} s does not fit before and after the switch, which has "
            f"{len(before) * trace.period:g} s and {len(after) * trace.period:g} s; make the "
            "episode longer"
        )
    before = before[len(before) % ticks :]
    after = after[: len(after) - len(after) % ticks]
    sums = [part.reshape(-1, ticks, part.shape[1]).sum(1) for part in (before, after)]
    return sums[0] / window, sums[1] / window


def relative_rate(
    trace: Trace,
    window: float = WINDOW,
    settling: float = 0.0,
    unswitched: Trace | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rates after the switch relative to the policy's steady one.

    The steady rate is the mean over all episodes, those which fell before the switch left out: one
    episode's own, over a few strides, would be noise.

    Args:
        trace: of a policy.
        window: [s], rounded to ticks.
        settling: [s] from the start of an episode that are not steady yet.
        unswitched: of the same policy in the same episodes without the switch, whose rate in each
            window is then the steady one; that before the switch when None.

    Returns:
        (windows, episodes), and which episodes count, (episodes,) bool.

    Raises:
        StatisticsError: no window is left, every episode fell, the steady rate is not positive, or
            ``unswitched`` is of other episodes.
    """
    window = trace.whole_ticks(window)
    before, after = window_rates(trace, window)
    began = trace.switch_tick * trace.period - len(before) * window
    before = before[max(0, int(np.ceil((settling - began) / window - 1e-9))) :]
    standing = trace.fell_at >= trace.switch_tick
    if not len(before) or not standing.any():
        raise StatisticsError(
            "no episode has a window before the switch that is steady and standing; switch later, "
            "settle for less time, or use a policy that stands"
        )
    steady = float(before[:, standing].mean())
    if steady <= 0.0:
        raise StatisticsError(
            f"the steady reward rate is {steady:g}; it must be positive to be compared with"
        )
    if unswitched is None:
        return after / steady, standing
    if not np.array_equal(
        unswitched.reward[: trace.switch_tick], trace.reward[: trace.switch_tick]
    ) or len(unswitched.reward) != len(trace.reward):
        raise StatisticsError(
            "the trace without the switch is of other episodes: up to the switch the rewards "
            "differ; trace the same policy in the same environments with the same seed"
        )
    twin = dataclasses.replace(unswitched, switch_tick=trace.switch_tick)
    rates = window_rates(twin, window)[1][:, standing].mean(1, keepdims=True)
    if rates.min() <= 0.0:
        raise StatisticsError(
            f"without the switch a window earns {rates.min():g}; it must be positive to be "
            "compared with"
        )
    return after / rates, standing


def recovery_times(
    relative: np.ndarray, *, window: float = WINDOW, target: float = TARGET, passes: int = 2
) -> np.ndarray:
    """Time from the switch to the end of the first of ``passes`` windows at ``target``, [s], of
    those from which on the mean is at ``target`` too: who passes by on the way down is not back.

    Args:
        relative: (windows, episodes).
        window: [s], as ``Trace.whole_ticks`` gives it.
        target: relative rate.
        passes: successive windows, so that one lucky stride is no recovery.

    Returns:
        (episodes,), infinite for who never was; ``window`` for who was never thrown off.
    """
    count, episodes = relative.shape
    if count < passes:
        return np.full(episodes, np.inf)
    rows = np.lib.stride_tricks.sliding_window_view(relative >= target, passes, axis=0)
    streaks = np.all(rows, axis=-1)  # (windows - passes + 1, episodes)
    left = np.arange(count, 0, -1)[:, None]
    from_there_on = np.cumsum(relative[::-1], axis=0)[::-1] / left  # means, (windows, episodes)
    back = streaks & (from_there_on >= target)[: count - passes + 1]
    return np.where(back.any(0), (1 + back.argmax(0)) * window, np.inf)


def recovery_row(
    policy: str,
    switch: str,
    trace: Trace,
    *,
    window: float = WINDOW,
    settling: float = 0.0,
    target: float = TARGET,
    seed: int = 0,
    unswitched: Trace | None = None,
) -> dict[str, Any]:
    """Everything a table needs of one policy under one switch, as JSON data.

    Infinite times are None; ``window`` is rounded to ticks. ``mean_recovery`` is that of the mean
    over episodes, in which the gait's own swing is averaged out; ``median`` is Kaplan-Meier over
    single episodes.
    """
    window = trace.whole_ticks(window)
    relative, counted = relative_rate(trace, window, settling, unswitched)
    relative = relative[:, counted]
    times = recovery_times(relative, window=window, target=target)
    reach = summarise_reach(times, len(relative) * window, np.random.default_rng(seed))
    together = recovery_times(relative.mean(1, keepdims=True), window=window, target=target)
    return {
        "policy": policy,
        "switch": switch,
        "window": window,
        "target": target,
        "episodes": reach.runs,
        "recovered": reach.reached,
        "fell_after": int((trace.fell_at[counted] < len(trace.reward)).sum()),
        "median": _finite(reach.median),
        "median_low": _finite(reach.low),
        "median_high": _finite(reach.high),
        "restricted_mean": reach.restricted_mean,
        "mean_recovery": _finite(float(together[0])),
        "curve": np.round(relative.mean(1), 4).tolist(),
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
